"""Bytewax: a ring by hand in `stateful_batch`, which its documentation names for what windows are too slow for.

The window operators of Bytewax itself (`fold_window`) do about 5,000 events/s on this job: sixty windows an event.
"""


import bytewax.operators as op
import orjson
from bytewax.connectors.files import DirSource
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from job import BROKERS, END_S, FILES, OUT, ROUTE, TOPIC
from ring import Ring


def parse(lines):
    samples = []
    for line in lines:
        it = orjson.loads(line)
        key = f"{it['service']},{it['route']}"
        samples.append((key, (it["event_time_us"] // 1_000_000, it["latency_us"], it["status"] >= 500)))
    return samples


class Minute(StatefulBatchLogic):
    def __init__(self, ring):
        self.ring = ring

    def on_batch(self, values):
        ring = self.ring
        if ring is None:
            ring = self.ring = Ring(values[0][0])
        said = []
        for second, latency_us, is_error in values:
            said.extend(ring.add(second, latency_us, is_error))
        return said, StatefulBatchLogic.RETAIN

    def on_eof(self):
        return self.ring.close_until(END_S), StatefulBatchLogic.RETAIN

    def on_notify(self):
        return (), StatefulBatchLogic.RETAIN

    def notify_at(self):
        return None

    def snapshot(self):
        return self.ring


class Rows(StatelessSinkPartition):
    def __init__(self, path):
        self.out = open(path, "w")

    def write_batch(self, items):
        for key, (end_s, requests, errors, p99_us) in items:
            if key.endswith(ROUTE):
                self.out.write(f"{end_s},{key},{requests},{errors},{p99_us}\n")

    def close(self):
        self.out.close()


class Out(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Rows(f"{OUT}.{worker_index}")


def source():
    if BROKERS:
        return KafkaSource([BROKERS], [TOPIC], tail=False, batch_size=5_000)
    from pathlib import Path

    first = Path(FILES[0])
    return DirSource(first.parent, glob_pat=first.name[: -len("0.jsonl")] + "?.jsonl", batch_size=5_000)


flow = Dataflow("peers")
lines = op.input("requests", flow, source())
if BROKERS:
    lines = op.flat_map_batch("values", lines, lambda messages: [message.value for message in messages])
samples = op.flat_map_batch("parse", lines, parse)
op.output("out", op.stateful_batch("minute", samples, Minute), Out())

"""Quix Streams: the ring by hand, in memory, one process per partition as its documentation scales out.

Its own state is RocksDB with a JSON value per key: a ring there would be written whole at every request, and its hopping
windows write sixty values a request, some hundred events/s. So this, too, is the fast way and not the durable one.
"""

import os
import subprocess
import sys

import orjson
from quixstreams import Application

from job import BROKERS, END_S, OUT, ROUTE, TOPIC
from ring import Ring


def consume(partition):
    app = Application(
        broker_address=BROKERS,
        consumer_group=TOPIC + "-quix",
        auto_offset_reset="earliest",
        loglevel="ERROR",
        consumer_extra_config={"partition.assignment.strategy": "range", "fetch.message.max.bytes": 8 << 20},
        state_dir=f"{OUT}-state-{partition}",
    )
    topic = app.topic(TOPIC, key_deserializer="str", value_deserializer="bytes")
    rings, out = {}, open(f"{OUT}.{partition}", "w")

    def take(value, key, timestamp, headers):
        it = orjson.loads(value)
        second = it["event_time_us"] // 1_000_000
        ring = rings.get(key)
        if ring is None:
            ring = rings[key] = Ring(second)
        said = ring.add(second, it["latency_us"], it["status"] >= 500)
        if said and key.endswith(ROUTE):
            write(key, said)

    def write(key, said):
        name = key.replace("|", ",")
        out.writelines(f"{end_s},{name},{requests},{errors},{p99}\n" for end_s, requests, errors, p99 in said)

    frame = app.dataframe(topic)
    frame.update(take, metadata=True)
    # Nothing comes for so long: the topic is read.
    app.run(timeout=3.0)
    for key, ring in rings.items():
        said = ring.close_until(END_S)
        if key.endswith(ROUTE):
            write(key, said)
    out.close()


if len(sys.argv) > 1:
    consume(sys.argv[1])
else:
    workers = [subprocess.Popen([sys.executable, __file__, str(n)], env=os.environ) for n in range(2)]
    sys.exit(sum(worker.wait() for worker in workers))

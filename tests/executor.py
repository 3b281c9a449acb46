#!/usr/bin/env python3
"""An executor of commands in 30 lines of another language: executor.py BROKERS STATE KIND PROGRAM (and confluent-kafka, PyPI).

It follows out.commands.v1, runs PROGRAM with the command as JSON for each of the KIND that is issued, and answers on
ops.acks.v1. What is in STATE (SQLite) makes it act once on a command: one of which it does not know the end has failed.
"""
import json
import sqlite3
import subprocess
import sys
import time

from confluent_kafka import Consumer, Producer

brokers, state, kind, program = sys.argv[1:]
db = sqlite3.connect(state, isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS done (command_id PRIMARY KEY, status DEFAULT 'failed', detail DEFAULT 'it was begun')")
db.execute("CREATE TABLE IF NOT EXISTS fences (concern PRIMARY KEY, fence)")
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "executor", "isolation.level": "read_committed",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "group.instance.id": "executor"})  # one that was killed is back at once
producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
consumer.subscribe(["out.commands.v1"])
while True:
    record = consumer.poll(1)
    if record is None or record.error():
        continue
    command = json.loads(record.value())
    command_id, concern = command["command_id"], f"{command['service']}/{command['target']}"
    if command["state"] == "issued" and command["kind"] == kind:
        known = db.execute("SELECT status, detail FROM done WHERE command_id = ?", [command_id]).fetchone()
        if known is None:
            db.execute("INSERT INTO done (command_id) VALUES (?)", [command_id])  # a crash from here on finds it begun
            (newest,) = db.execute("SELECT coalesce(max(fence), 0) FROM fences WHERE concern = ?", [concern]).fetchone()
            if command["fence"] < newest or command["expires_us"] < time.time_ns() // 1000:
                known = ("refused", "it expired, or a newer one came before it")
            else:
                db.execute("INSERT OR REPLACE INTO fences VALUES (?, ?)", [concern, command["fence"]])
                ended = subprocess.run([program, json.dumps(command)], capture_output=True, text=True)
                known = ("failed" if ended.returncode else "applied", (ended.stdout + ended.stderr).strip()[:200])
            db.execute("UPDATE done SET status = ?, detail = ? WHERE command_id = ?", [*known, command_id])
        answer = {"event_time_us": time.time_ns() // 1000, "command_id": command_id, "service": command["service"],
                  "status": known[0], "detail": known[1]}
        producer.produce("ops.acks.v1", json.dumps(answer))  # said again after a crash; the first answer counts
        producer.flush()
    consumer.commit(record, asynchronous=False)

#!/usr/bin/env python3
"""Takes messages from the queue into a table, each message_id once (Debian: python3-pika).

    consumer.py AMQP_URL FILE
"""
import sqlite3
import sys

import pika

db = sqlite3.connect(sys.argv[2])
db.execute("CREATE TABLE IF NOT EXISTS received (message_id TEXT NOT NULL PRIMARY KEY, entity_id TEXT, body BLOB)")


def take(channel, method, properties, body):
    with db:  # one transaction, committed before the message is acknowledged
        # A message may come twice: the agent repeats what was not answered, the broker what was not acknowledged.
        row = (properties.message_id, properties.headers["entity_id"], body)
        new = db.execute("INSERT INTO received VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount == 1
        # What a sale does (stock, accounts) belongs here, in this transaction, and only if new.
    print("taken" if new else "seen before", properties.message_id, flush=True)
    channel.basic_ack(method.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()
channel.basic_qos(prefetch_count=1)  # one after the other: order holds
channel.basic_consume("resyncd", take)
channel.start_consuming()

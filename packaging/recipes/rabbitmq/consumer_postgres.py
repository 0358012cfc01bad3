#!/usr/bin/env python3
"""Takes messages from a cluster's queue into PostgreSQL, each message_id once in effect
(Debian: python3-pika, python3-psycopg2).

    consumer_postgres.py "host=… dbname=… user=…" AMQP_URL…     one URL for each node
"""
import itertools
import sys
import time

import pika
import psycopg2

BATCH = 100  # messages of one transaction
TABLE = """CREATE TABLE IF NOT EXISTS received (
    message_id TEXT PRIMARY KEY, entity_id TEXT NOT NULL, body TEXT NOT NULL,
    n BIGSERIAL, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), times INTEGER NOT NULL DEFAULT 1)"""
TAKE = """INSERT INTO received (message_id, entity_id, body) VALUES (%s, %s, %s)
    ON CONFLICT (message_id) DO UPDATE SET times = received.times + 1 RETURNING times"""

line = psycopg2.connect(sys.argv[1])
with line, line.cursor() as db:
    db.execute(TABLE)


def take(channel, batch):
    with line, line.cursor() as db:  # one transaction, committed before the messages are acknowledged
        for method, properties, body in batch:
            # A message may come twice: the agent repeats what was not answered, the broker what was not acknowledged.
            db.execute(TAKE, (properties.message_id, properties.headers["entity_id"], body.decode()))
            (times,) = db.fetchone()
            # What a sale does (stock, accounts) belongs here, in this transaction, and only if times is 1.
    channel.basic_ack(batch[-1][0].delivery_tag, multiple=True)


def consume(url):
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=BATCH)
    print("consuming", flush=True)
    batch = []
    # In the order of the queue. When no further message arrives for a moment, the batch is processed.
    for message in channel.consume("resyncd", inactivity_timeout=0.05):
        if message[0]:
            batch.append(message)
        if batch and (not message[0] or len(batch) == BATCH):
            take(channel, batch)
            batch = []


# Without PostgreSQL this program ends, and its supervisor restarts it. Without its node it connects to the next.
for url in itertools.cycle(sys.argv[2:]):
    try:
        consume(url)
    except pika.exceptions.AMQPError as error:
        print("next node:", repr(error), flush=True)
        time.sleep(0.5)

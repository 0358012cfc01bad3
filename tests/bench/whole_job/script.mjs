// What a developer who has Prisma would write instead of resyncd; it does the same as script.py beside it. Part of the
// benchmark: `script.mjs DATABASE SOCKET URL`.

import { PrismaLibSQL } from "@prisma/adapter-libsql";
import client from "@prisma/client";
import { existsSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [database, socket, url] = process.argv.slice(2);
const SENDERS = 4;
const WHILE_DOWN = 1000; // between attempts while the upstream cannot be reached
const BACKOFF = [300_000, 900_000, 1_800_000];
const REQUIRED = ["entity_type", "entity_id", "action", "error"];

// `prisma db push` would do this, with an engine that is downloaded.
const TABLE = [
  `CREATE TABLE IF NOT EXISTS sync_failures (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, entity_type TEXT NOT NULL, entity_id TEXT NOT NULL,
    action TEXT NOT NULL, error TEXT NOT NULL, payload TEXT, retry_count INTEGER NOT NULL DEFAULT 0,
    last_retry_at DATETIME, created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, due_at REAL NOT NULL DEFAULT 0)`,
  "CREATE UNIQUE INDEX IF NOT EXISTS sync_failures_id ON sync_failures (id)",
  "CREATE INDEX IF NOT EXISTS sync_failures_entity ON sync_failures (entity_type, entity_id, seq)",
  "CREATE INDEX IF NOT EXISTS sync_failures_retry ON sync_failures (retry_count, created_at)",
];

const prisma = new client.PrismaClient({ adapter: new PrismaLibSQL({ url: `file:${database}` }) });
await prisma.$queryRawUnsafe("PRAGMA journal_mode = WAL");
// A commit returns when it is on the disk.
const [{ synchronous }] = await prisma.$queryRawUnsafe("PRAGMA synchronous");
if (Number(synchronous) !== 2) throw new Error(`synchronous is ${synchronous}, not FULL`);
for (const statement of TABLE) await prisma.$executeRawUnsafe(statement);

async function record(failure) {
  const missing = REQUIRED.find((name) => typeof failure?.[name] !== "string");
  if (missing) return { ok: false, error: { code: "bad_request", message: `${missing} is missing` } };
  const data = {
    id: failure.idempotency_key,
    entityType: failure.entity_type,
    entityId: failure.entity_id,
    action: failure.action,
    error: failure.error,
    payload: failure.payload === undefined ? null : JSON.stringify(failure.payload),
  };
  try {
    const { id } = await prisma.syncFailure.create({ data, select: { id: true } });
    return { ok: true, id, duplicate: false };
  } catch (error) {
    if (error.code === "P2002") return { ok: true, id: failure.idempotency_key, duplicate: true };
    return { ok: false, error: { code: "storage", message: error.message } };
  }
}

async function serve(connection) {
  connection.on("error", () => {});
  for await (const line of createInterface({ input: connection })) {
    let reply;
    try {
      reply = await record(JSON.parse(line));
    } catch {
      reply = { ok: false, error: { code: "bad_json", message: "not a JSON object" } };
    }
    connection.write(`${JSON.stringify(reply)}\n`);
  }
}

// The oldest failure of each entity, so that none overtakes another of its entity.
const next = () => prisma.$queryRaw`
  SELECT id, entity_type, entity_id, action, payload, retry_count FROM sync_failures AS f
  WHERE due_at <= ${Date.now()} AND retry_count < ${BACKOFF.length} AND NOT EXISTS (
    SELECT 1 FROM sync_failures AS older
    WHERE older.entity_type = f.entity_type AND older.entity_id = f.entity_id AND older.seq < f.seq)
  ORDER BY seq LIMIT ${SENDERS}`;

async function send(row) {
  const headers = {
    "content-type": "application/json",
    "idempotency-key": row.id,
    "x-entity-type": row.entity_type,
    "x-entity-id": row.entity_id,
    "x-action": row.action,
  };
  let status, text;
  try {
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(url, { method: "POST", headers, body: row.payload ?? "", redirect: "manual", signal });
    [status, text] = [response.status, await response.text()];
  } catch {
    return false;
  }
  if ([429, 502, 503, 504].includes(status)) return false; // an outage uses up no retry
  const where = { id: row.id };
  if (status >= 200 && status < 300) {
    await prisma.syncFailure.delete({ where, select: { id: true } });
  } else {
    const count = Number(row.retry_count);
    const data = {
      retryCount: count + 1,
      error: `HTTP ${status}: ${text.slice(0, 200)}`,
      lastRetryAt: new Date(),
      dueAt: Date.now() + BACKOFF[Math.min(count, BACKOFF.length - 1)],
    };
    await prisma.syncFailure.update({ where, data });
  }
  return true;
}

async function deliver() {
  for (;;) {
    const rows = await next();
    const there = await Promise.all(rows.map(send));
    if (rows.length === 0 || there.includes(false)) await sleep(WHILE_DOWN);
  }
}

if (existsSync(socket)) unlinkSync(socket);
createServer((connection) => void serve(connection)).listen(socket);
await deliver();

"""What became of the rows of a PostgreSQL table: in the agent, and at the head office.

  check.py imported DATABASE_URL EXPORT     every row is in the agent's export, as it was
  check.py delivered DATABASE_URL ARRIVED   every row that had retries left has arrived once, in order, under its id
"""
import datetime, json, subprocess, sys


def rows(url):
    """The table's rows in the order of their creation, as PostgreSQL gives them."""
    query = ("SELECT json_build_object('id', id, 'entity_type', entity_type, 'entity_id', entity_id, 'action', action,"
             " 'error', error, 'payload', payload, 'retry_count', coalesce(retry_count, 0),"
             " 'created_at', created_at AT TIME ZONE 'UTC', 'last_retry_at', last_retry_at AT TIME ZONE 'UTC')"
             " FROM sync_failures ORDER BY created_at, id")
    said = subprocess.run(["psql", url, "-At", "-c", query], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def milliseconds(text):
    if text is None:
        return None
    at = datetime.datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp() * 1000)


def imported(url, export):
    here = [json.loads(line) for line in open(export, encoding="utf-8")]
    there = rows(url)
    assert len(here) == len(there) == 200, (len(here), len(there))
    here.sort(key=lambda row: row["seq"])
    assert [row["id"] for row in here] == [row["id"] for row in there], "they are numbered by created_at"
    for old, new in zip(there, here):
        for name in ("id", "entity_type", "entity_id", "action", "error", "retry_count"):
            assert old[name] == new[name], (name, old, new)
        payload = new["payload"]
        if new.get("payload_kind") == "json" and not isinstance(payload, str):
            payload = json.dumps(payload)
            assert json.loads(old["payload"]) == json.loads(payload), (old, new)
        else:
            assert old["payload"] == payload, (old, new)
        for name in ("created_at", "last_retry_at"):
            assert milliseconds(old[name]) == milliseconds(new[name]), (name, old, new)
        assert new["status"] == ("critical" if old["retry_count"] >= 3 else "pending"), (old, new)
    print(f"{len(here)} rows are here as they were there")


def delivered(url, arrived):
    came = [json.loads(line) for line in open(arrived, encoding="utf-8")]
    there = rows(url)
    keys = [one["key"] for one in came]
    assert len(set(keys)) == len(keys), "one arrived twice"
    known = {row["id"]: row for row in there}
    # An entity whose oldest rows need a person waits behind them.
    blocked, expected = set(), []
    for row in there:
        entity = (row["entity_type"], row["entity_id"])
        if row["retry_count"] >= 3:
            blocked.add(entity)
        elif entity not in blocked:
            expected.append(row["id"])
    assert sorted(keys) == sorted(expected), set(keys) ^ set(expected)
    order = {}
    for key in keys:
        row = known[key]
        order.setdefault((row["entity_type"], row["entity_id"]), []).append(row["created_at"])
    assert all(times == sorted(times) for times in order.values()), "an entity's rows arrived out of order"
    for one in came:
        sent, row = one["body"], known[one["key"]]
        assert (sent["entity_id"], sent["action"]) == (row["entity_id"], row["action"]), (sent, row)
    print(f"{len(keys)} arrived, each once, in order")


{"imported": imported, "delivered": delivered}[sys.argv[1]](*sys.argv[2:])

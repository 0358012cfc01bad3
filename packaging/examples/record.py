# python3 record.py ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
#   recorded  it is on disk, and the agent's from now on
#   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
#             and send it again soon with the same key; the key makes that safe
#   alert     full, disk_full: call someone, and send it again later, with the same key
#   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
import json, os, socket, sys
sale = {"op": "record", "entity_type": "SALE", "entity_id": sys.argv[1], "action": "CREATE",
        "error": "connect ETIMEDOUT", "payload": {"total": 12.50}, "idempotency_key": sys.argv[2]}
agent, code, again = socket.socket(socket.AF_UNIX), "no_answer", ("no_answer", "busy", "shutting_down", "storage")
agent.settimeout(5)  # seconds, to be let in, and to be answered
try:
    agent.connect(os.environ.get("RESYNCD_SOCKET", "/run/resyncd/resyncd.sock"))
    agent.sendall(json.dumps(sale).encode() + b"\n")
    code = json.loads(agent.makefile().readline()).get("error", {}).get("code", "ok")
except (OSError, ValueError) as why: print(why, file=sys.stderr)
print("recorded" if code == "ok" else "again" if code in again else "alert" if code.endswith("full") else "fix", code)

// node record.js ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
const [entity_id, idempotency_key] = process.argv.slice(2);
const sale = { op: "record", entity_type: "SALE", entity_id, action: "CREATE", error: "connect ETIMEDOUT",
               payload: { total: 12.5 }, idempotency_key };
const todo = { ok: "recorded", no_answer: "again", busy: "again", shutting_down: "again", storage: "again",
               full: "alert", disk_full: "alert" };
const agent = require("net").createConnection(process.env.RESYNCD_SOCKET || "/run/resyncd/resyncd.sock");
const end = (code) => { console.log(todo[code] ?? "fix", code); process.exit(); };
setTimeout(end, 5000, "no_answer"); // to be let in, and to be answered
agent.on("error", () => end("no_answer")).on("end", () => end("no_answer")).write(JSON.stringify(sale) + "\n");
require("readline").createInterface(agent).once("line", (line) => end(JSON.parse(line).error?.code ?? "ok"));

// node record.js ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do. It works as a CommonJS script and as
// an ES module ("type": "module"); the types of requests and replies are in resyncd.d.ts.
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key. Also no_access: the user that
//             this runs as is not in the socket's group, and sending it again will not help before it is
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
const sale = { op: "record", entity_type: "SALE", entity_id: process.argv[2], action: "CREATE", error: "connect ETIMEDOUT",
               payload: { total: 12.5 }, idempotency_key: process.argv[3] };
const todo = { ok: "recorded", no_answer: "again", busy: "again", shutting_down: "again", storage: "again",
               full: "alert", disk_full: "alert", no_access: "alert" };
const end = (code = "no_answer") => { console.log(todo[code] ?? "fix", code); process.exit(); };
setTimeout(end, 5000); // to be let in, and to be answered
Promise.all([import("node:net"), import("node:readline")]).then(([net, readline]) => {
  const agent = net.createConnection(process.env.RESYNCD_SOCKET || "/run/resyncd/resyncd.sock").on("end", end);
  agent.on("error", (e) => end(e.code == "EACCES" ? "no_access" : "no_answer")).write(JSON.stringify(sale) + "\n");
  readline.createInterface(agent).once("line", (line) => end(JSON.parse(line).error?.code ?? "ok"));
});

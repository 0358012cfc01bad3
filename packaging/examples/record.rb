# ruby record.rb ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
#   recorded  it is on disk, and the agent's from now on
#   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
#             and send it again soon with the same key; the key makes that safe
#   alert     full, disk_full: call someone, and send it again later, with the same key
#   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
require "json"; require "socket"; require "timeout"
sale = { op: "record", entity_type: "SALE", entity_id: ARGV[0], action: "CREATE",
         error: "connect ETIMEDOUT", payload: { total: 12.5 }, idempotency_key: ARGV[1] }
code = Timeout.timeout(5) do # seconds, to be let in, and to be answered
  agent = UNIXSocket.new(ENV.fetch("RESYNCD_SOCKET", "/run/resyncd/resyncd.sock"))
  agent.puts(JSON.generate(sale))
  JSON.parse(agent.gets || "no").dig("error", "code") || "ok"
end rescue "no_answer"
todo = { "ok" => "recorded", "full" => "alert", "disk_full" => "alert" }
%w[no_answer busy shutting_down storage].each { |again| todo[again] = "again" }
puts "#{todo.fetch(code, "fix")} #{code}"

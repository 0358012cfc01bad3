<?php
// php record.php ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
$sale = ["op" => "record", "entity_type" => "SALE", "entity_id" => $argv[1], "action" => "CREATE",
         "error" => "connect ETIMEDOUT", "payload" => ["total" => 12.5], "idempotency_key" => $argv[2]];
$path = getenv("RESYNCD_SOCKET") ?: "/run/resyncd/resyncd.sock";
$agent = @stream_socket_client("unix://$path", $number, $why, 5); // seconds, to be let in
if ($agent) stream_set_timeout($agent, 5);                        // and to be answered
if ($agent) fwrite($agent, json_encode($sale) . "\n");
$reply = $agent ? json_decode(fgets($agent) ?: "null") : null;
$code = $reply ? $reply->error->code ?? "ok" : "no_answer";
echo match ($code) { "ok" => "recorded", "no_answer", "busy", "shutting_down", "storage" => "again",
                     "full", "disk_full" => "alert", default => "fix" }, " $code\n";

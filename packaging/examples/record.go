// go run record.go REQUEST: hands a failure to resyncd, and prints what to do. A REQUEST:
// '{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","idempotency_key":"k-1"}'
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
package main

import ("encoding/json"; "fmt"; "net"; "os"; "time")

func main() {
	path, reply := os.Getenv("RESYNCD_SOCKET"), struct { Ok bool; Error struct { Code string } }{}
	if path == "" { path = "/run/resyncd/resyncd.sock" }
	if agent, err := net.DialTimeout("unix", path, 5*time.Second); err == nil { // to be let in
		agent.SetDeadline(time.Now().Add(5 * time.Second)) // and to be answered
		if _, err := fmt.Fprintln(agent, os.Args[1]); err == nil { json.NewDecoder(agent).Decode(&reply) }
	}
	todo := map[string]string{"": "again", "busy": "again", "shutting_down": "again", "storage": "again",
		"full": "alert", "disk_full": "alert"}[reply.Error.Code]
	if reply.Ok { todo = "recorded" } else if todo == "" { todo = "fix" }
	fmt.Println(todo, reply.Error.Code)
}

// cc -o record record.c && ./record REQUEST: hands a failure to resyncd, and prints what to do. A REQUEST:
// '{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","idempotency_key":"k-1"}'
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
int main(int count, char **given) {
    char reply[4096] = "", *path = getenv("RESYNCD_SOCKET");
    struct timeval limit = {.tv_sec = 5}; struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, path ? path : "/run/resyncd/resyncd.sock", sizeof to.sun_path - 1);
    int at = 0, agent = (signal(SIGPIPE, SIG_IGN), socket(AF_UNIX, SOCK_STREAM, 0)); // 5 s to be let in, and answered:
    for (int n = 0; n < 2; n++) setsockopt(agent, SOL_SOCKET, n ? SO_SNDTIMEO : SO_RCVTIMEO, &limit, sizeof limit);
    if (count > 1 && !connect(agent, (struct sockaddr *)&to, sizeof to)) dprintf(agent, "%s\n", given[1]);
    for (int n; !strchr(reply, '\n') && (n = recv(agent, reply + at, sizeof reply - 1 - at, 0)) > 0;) at += n;
    int again = !*reply || strstr(reply, ":\"busy") || strstr(reply, ":\"shutting_down") || strstr(reply, ":\"storage");
    puts(again ? "again" : strstr(reply, "{\"ok\":true") ? "recorded" : strstr(reply, "full\"") ? "alert" : "fix");
}

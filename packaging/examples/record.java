// java record.java REQUEST: hands a failure to resyncd, and prints what to do. A REQUEST:
// '{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","idempotency_key":"k-1"}'
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
import java.net.*; import java.nio.*; import java.nio.channels.*; import java.util.*;
class Record {
    public static void main(String[] given) throws Exception {
        String code = "no_answer", path = System.getenv().getOrDefault("RESYNCD_SOCKET", "/run/resyncd/resyncd.sock");
        var agent = SocketChannel.open(StandardProtocolFamily.UNIX); // its end, 5 s to be let in and answered:
        new Timer(true).schedule(new TimerTask() { public void run() { try { agent.close(); } catch (Exception e) {} } }, 5000);
        try { agent.connect(UnixDomainSocketAddress.of(path));
            agent.write(ByteBuffer.wrap((given[0] + "\n").getBytes("UTF-8")));
            code = new Scanner(agent, "UTF-8").nextLine().replaceAll(".*\"code\":\"(\\w+)\".*|.*\"ok\":true.*", "$1");
        } catch (java.io.IOException | NoSuchElementException why) { System.err.println(why); }
        boolean again = List.of("no_answer", "busy", "shutting_down", "storage").contains(code);
        System.out.println(code.isEmpty() ? "recorded" : again ? "again" : code.endsWith("full") ? "alert" : "fix " + code);
    }
}

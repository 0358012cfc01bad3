// mcs record.cs && mono record.exe REQUEST: hands a failure to resyncd, and prints what to do. A REQUEST:
// '{"op":"record","entity_type":"SALE","entity_id":"s-1","action":"CREATE","error":"x","idempotency_key":"k-1"}'
//   recorded  it is on disk, and the agent's from now on
//   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
//             and send it again soon with the same key; the key makes that safe
//   alert     full, disk_full: call someone, and send it again later, with the same key
//   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
using System; using System.IO; using System.Net.Sockets; using System.Text; using System.Text.RegularExpressions;
class Record {
    static void Main(string[] given) {
        string reply = "", path = Environment.GetEnvironmentVariable("RESYNCD_SOCKET") ?? "/run/resyncd/resyncd.sock";
        var agent = new Socket(AddressFamily.Unix, SocketType.Stream, 0) { SendTimeout = 5000, ReceiveTimeout = 5000 };
        try { agent.Connect(new UnixDomainSocketEndPoint(path));
            agent.Send(Encoding.UTF8.GetBytes(given[0] + "\n"));
            reply = new StreamReader(new NetworkStream(agent)).ReadLine() ?? "";
        } catch (Exception why) { Console.Error.WriteLine(why.Message); }
        var again = reply == "" || Regex.IsMatch(reply, "\"code\":\"(busy|shutting_down|storage)\"");
        var todo = again ? "again" : Regex.IsMatch(reply, "\"code\":\"(disk_)?full\"") ? "alert" : "fix";
        Console.WriteLine((reply.StartsWith("{\"ok\":true") ? "recorded " : todo + " ") + reply);
    }
}

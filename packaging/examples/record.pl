# perl record.pl ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
#   recorded  it is on disk, and the agent's from now on
#   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
#             and send it again soon with the same key; the key makes that safe
#   alert     full, disk_full: call someone, and send it again later, with the same key
#   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
use strict; use warnings; use IO::Socket::UNIX; use JSON::PP;
my %sale = (op => "record", entity_type => "SALE", entity_id => $ARGV[0], action => "CREATE",
            error => "connect ETIMEDOUT", payload => { total => 12.5 }, idempotency_key => $ARGV[1]);
my $code = eval {
    local $SIG{ALRM} = sub { die }; local $SIG{PIPE} = "IGNORE"; alarm 5; # seconds, to be let in, and to be answered
    my $agent = IO::Socket::UNIX->new($ENV{RESYNCD_SOCKET} || "/run/resyncd/resyncd.sock") or die;
    print $agent encode_json(\%sale), "\n";
    my $reply = decode_json(scalar <$agent>); $reply->{ok} ? "ok" : $reply->{error}{code};
} || "no_answer";
my %todo = (ok => "recorded", full => "alert", disk_full => "alert");
print $todo{$code} || ($code =~ /^(no_answer|busy|shutting_down|storage)$/ ? "again" : "fix"), " $code\n";

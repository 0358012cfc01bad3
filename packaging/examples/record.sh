#!/bin/sh
# sh record.sh ENTITY_ID KEY: hands an unsent sale to resyncd; prints what to do.
#   recorded  it is on disk, and the agent's from now on
#   again     no agent, no answer in time, or busy, shutting_down, storage: it may be recorded or not. Keep it,
#             and send it again soon with the same key; the key makes that safe
#   alert     full, disk_full: call someone, and send it again later, with the same key
#   fix       bad_request, conflict, any other: this request is wrong, and would be wrong again
# Where no agent runs, and the user may write its file, resyncd records into that.
reply=$(echo '{"total": 12.50}' | timeout 5 resyncd record --json --type SALE --entity "$1" --action CREATE \
    --error 'connect ETIMEDOUT' --payload-file - --key "$2")   # 5 seconds, to be let in, and to be answered
case $reply in
    *'"ok":true'*) echo recorded ok ;;
    *'"code":"full"'* | *'"code":"disk_full"'*) echo alert "$reply" ;;
    *'"code":"busy"'* | *'"code":"shutting_down"'* | *'"code":"storage"'*) echo again "$reply" ;;
    '') echo again no_answer ;;
    *) echo fix "$reply" ;;
esac

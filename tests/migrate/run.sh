#!/usr/bin/env bash
# The page on migration, packaging/doc/migrate.md: its commands are run verbatim, on 200 awkward rows of a real
# PostgreSQL, once by psql and once by a real Prisma client. What arrives in the agent and at the head office is compared
# with the table. The Spanish page has to have the same commands.
#
#   tests/migrate/run.sh [AGENT] [postgresql] [prisma]     AGENT: target/release/resyncd
#
# Installs what is missing from Debian (as root) and npm. Only loopback; leaves nothing running.
set -euo pipefail

AGENT=$(realpath "${1:-target/release/resyncd}")
shift || true
WAYS=("$@")
[ ${#WAYS[@]} -gt 0 ] || WAYS=(postgresql prisma)
HERE=$(realpath "$(dirname "$0")")
PAGES=$(realpath "$HERE/../../packaging/doc")
# Pinned, so that a failure means that we changed. This version works without a binary of its own.
PRISMA=6.19.0

STAGE=migrate
# shellcheck source=tests/real/stage.sh
source "$HERE/../real/stage.sh"
chmod 711 "$WORK"
# The page calls it by its name.
unset -f resyncd

# ---- the page -------------------------------------------------------------------------------------

blocks() { # blocks PAGE WAY: the page's commands for this way, in their order; files of it are written
    awk -v way="$2" '
        /^```/ && open { open = 0; next }
        /^```(sh|js) migrate/ {
            kind = $1 == "```sh" ? "sh" : "js"
            open = NF == 2 || $3 == way
            file = kind == "js" ? $4 : ""
            if (open && file) printf "" > file
            next
        }
        open && file { print > file; next }
        open { print }
    ' "$1"
}

# ---- what the page takes for granted --------------------------------------------------------------

# PostgreSQL does not run as root.
AS_POSTGRES=(env)
[ "$(id -u)" != 0 ] || AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --init-groups)

need_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return 0
    [ "$(id -u)" = 0 ] || { echo "missing Debian package: postgresql" >&2; return 1; }
    local policy=/usr/sbin/policy-rc.d made=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
    timeout 300 apt-get -qq update
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends postgresql >/dev/null
    [ -z "$made" ] || rm "$policy"
}

start_postgres() {
    need_postgres
    PGBIN=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1)")
    mkdir "$WORK/pg"
    [ "$(id -u)" != 0 ] || chown postgres "$WORK/pg"
    timeout 300 "${AS_POSTGRES[@]}" "$PGBIN/initdb" -D "$WORK/pg/data" -U till --auth=trust --no-sync -E UTF8 --locale=C >/dev/null
    read -r PGPORT <<<"$(free_ports 1)"
    export DATABASE_URL="postgresql://till@127.0.0.1:$PGPORT/postgres"
    serve postgres.log "${AS_POSTGRES[@]}" "$PGBIN/postgres" -D "$WORK/pg/data" -p "$PGPORT" \
        -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$WORK/pg" -c timezone=Europe/Madrid
    wait_port "$PGPORT"
    psql "$DATABASE_URL" -q -v ON_ERROR_STOP=1 -f "$HERE/rows.sql" >/dev/null
    echo "PostgreSQL $(psql "$DATABASE_URL" -At -c 'SHOW server_version')"
}

prisma_client() { # a project as its owner has it
    cat >package.json <<<'{"private":true,"type":"module"}'
    mkdir -p prisma
    cat >prisma/schema.prisma <<'PRISMA'
generator client {
  provider   = "prisma-client-js"
  engineType = "client"
}
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
model SyncFailure {
  id          String    @id
  entityType  String    @map("entity_type")
  entityId    String    @map("entity_id")
  action      String
  error       String
  payload     String?
  retryCount  Int?      @default(0) @map("retry_count")
  lastRetryAt DateTime? @map("last_retry_at") @db.Timestamptz
  createdAt   DateTime? @map("created_at") @db.Timestamptz
  updatedAt   DateTime? @map("updated_at") @db.Timestamptz
  @@map("sync_failures")
}
PRISMA
    cat >prisma.mjs <<'JS'
import { PrismaPg } from "@prisma/adapter-pg";
import client from "@prisma/client";
export const prisma = new client.PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });
JS
    timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts \
        "prisma@$PRISMA" "@prisma/client@$PRISMA" "@prisma/adapter-pg@$PRISMA"
    # The generator asks for engines that this kind of client does not use.
    PRISMA_SCHEMA_ENGINE_BINARY=/bin/true PRISMA_QUERY_ENGINE_LIBRARY=/bin/true PRISMA_HIDE_UPDATE_MESSAGE=1 \
        timeout 300 npx prisma generate >prisma.log 2>&1 || { cat prisma.log >&2; return 1; }
}

# ---- the story ------------------------------------------------------------------------------------

migrate() { # migrate WAY: by the page, from an empty agent to the last delivery
    local way=$1 dir=$WORK/$1 port
    mkdir -p "$dir/bin"
    cd "$dir"
    read -r port <<<"$(free_ports 1)"
    : >arrived
    serve office.log python3 "$HERE/office.py" "$port" "$dir/arrived"
    wait_port "$port"
    cat >resyncd.toml <<TOML
[agent]
terminal_id = "till-07"
state_dir = "$dir/state"
socket = "$dir/app.sock"
admin_socket = "$dir/admin.sock"
[upstream.hq]
url = "http://127.0.0.1:$port/sync"
TOML
    export RESYNCD_CONFIG=$dir/resyncd.toml
    # The page says sudo; here is none, and none is needed.
    ln -sf "$AGENT" bin/resyncd
    printf '#!/bin/sh\nexec "$@"\n' >bin/sudo
    chmod 755 bin/sudo
    PATH=$dir/bin:$PATH
    [ "$way" != prisma ] || prisma_client
    serve agent.log resyncd run
    local agent=${PIDS[-1]}
    until resyncd check >/dev/null 2>&1 || [ $? != 3 ]; do sleep 0.05; done

    blocks "$PAGES/migrate.md" "$way" >commands
    # What is said after the import is looked at before anything is sent.
    sed '/resyncd resume/,$d' commands >before
    sed -n '/resyncd resume/,$p' commands >after
    bash -euo pipefail before >said 2>&1 || { cat said >&2; return 1; }
    same "$way: all can be imported" "200 lines can be imported, 0 cannot; nothing was changed." "$(grep 'can be imported' said)"
    same "$way: imported" "200 imported, 0 were here already." "$(grep -x '[0-9]* imported, .*' said)"
    same "$way: the numbers are the same" "200 200" "$(grep -x '[0-9]*' said | tr '\n' ' ' | sed 's/ $//')"
    resyncd export >export.jsonl
    same "$way: as they were" "200 rows are here as they were there" "$(python3 "$HERE/check.py" imported "$DATABASE_URL" export.jsonl)"
    same "$way: a second time changes nothing" "0 imported, 200 were here already." \
        "$(resyncd import failures.jsonl | grep 'imported, ')"
    bash -euo pipefail after >>said 2>&1 || { cat said >&2; return 1; }
    local end=$((SECONDS + 120))
    until resyncd list --json --status pending --limit 1000 | python3 -c '
import json, sys
states = [json.loads(line)["state"] for line in sys.stdin]
sys.exit(any(state != "blocked" for state in states))'; do
        [ "$SECONDS" -lt "$end" ] || { resyncd status; resyncd list; return 1; }
        sleep 0.2
    done
    local found
    found=$(python3 "$HERE/check.py" delivered "$DATABASE_URL" arrived)
    same "$way: $found" "arrived, each once, in order" "${found#* }"
    stop "$agent"
}

for way in "${WAYS[@]}"; do
    (cd "$(mktemp -d -p "$WORK")" && diff <(blocks "$PAGES/migrate.md" "$way") <(blocks "$PAGES/migrate.es.md" "$way")) ||
        { echo "the pages differ in their commands" >&2; exit 1; }
done
start_postgres
for way in "${WAYS[@]}"; do migrate "$way"; done
echo "$PASSED ok, $FAILED failed"
[ "$FAILED" = 0 ]

#!/bin/sh
# Prepares an etcd cluster for resyncd: a role for the keys below resync/, a user with that role, and
# authentication, which needs a user root. Run once, with python3; what an interrupted run has made is kept:
#
#   sh setup.sh URL_OF_A_NODE ROOT_PASSWORD_FILE TILL_LOGIN_FILE
#
# TILL_LOGIN_FILE is what the terminals get: {"name":"till","password":"…"}
set -eu
exec python3 - "$@" <<'PY'
import base64, json, sys, urllib.error, urllib.request

url, root_file, till_file = sys.argv[1:]
root = open(root_file).read().strip()
till = json.load(open(till_file))


def ask(path, **what):
    request = urllib.request.Request(url + "/v3/auth/" + path, json.dumps(what).encode())
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        said = json.load(error)["error"]
        if "already exists" not in said:
            sys.exit(f"{path}: {said}")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


for name, password in ("root", root), (till["name"], till["password"]):
    ask("user/add", name=name, password=password)
    ask("role/add", name=name)
    ask("user/grant", user=name, role=name)
# From resync/ up to, and without, resync0: every key that begins with resync/.
ask("role/grant", name=till["name"], perm={"permType": "READWRITE", "key": encoded("resync/"), "range_end": encoded("resync0")})
ask("enable")
PY

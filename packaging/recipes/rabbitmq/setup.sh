#!/bin/sh
# Prepares a broker for resyncd: plugin, exchange, queue, binding, and a user that may publish and
# nothing else. Run once, as the broker's administrator:
#
#   setup.sh USER <FILE_WITH_ITS_PASSWORD
set -eu
here=$(dirname "$0")
rabbitmqctl add_user "$1"   # reads the password
exec </dev/null
rabbitmq-plugins enable rabbitmq_management
rabbitmqctl import_definitions "$here/definitions.json"
# The tag opens the HTTP API; the permissions are: configure nothing, write to one exchange, read nothing.
rabbitmqctl set_user_tags "$1" management
rabbitmqctl set_permissions "$1" '^$' '^resyncd$' '^$'

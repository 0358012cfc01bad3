#!/bin/sh
# Prepares a broker for resyncd: plugin, exchange, queue, binding, and a user that may publish and
# nothing else. Run as the broker's administrator; a second run only sets the password:
#
#   sh setup.sh USER <FILE_WITH_ITS_PASSWORD
set -eu
here=$(dirname "$0")
password=$(cat)
exec </dev/null
user=add_user
! rabbitmqctl -q list_users | cut -f1 | grep -qxF "$1" || user=change_password
printf %s "$password" | rabbitmqctl "$user" "$1"
rabbitmq-plugins enable rabbitmq_management
rabbitmqctl import_definitions "$here/definitions.json"
# The tag opens the HTTP API; the permissions are: configure nothing, write to one exchange, read nothing.
rabbitmqctl set_user_tags "$1" management
rabbitmqctl set_permissions "$1" '^$' '^resyncd$' '^$'

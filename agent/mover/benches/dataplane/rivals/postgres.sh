# shellcheck shell=bash
# postgres.sh create|update DIR SCALE TRANSACTIONS: a PostgreSQL data directory with pgbench's tables, shut down cleanly, before and after
# transactions of pgbench. It refuses to run as root, listens on a socket alone, and shuts down at the end.
verb=$1 dir=$2 scale=$3 transactions=$4
programs=(/usr/lib/postgresql/*/bin)
socket=$(mktemp -d)
trap 'rm -rf "$socket"' EXIT
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  as() { runuser -u postgres -- "$@"; }
  chown postgres "$dir" "$socket"
fi
cd /
[ "$verb" = update ] || as "${programs[-1]}/initdb" --pgdata="$dir" --auth=trust --username=postgres --no-instructions
chmod 700 "$dir"
as "${programs[-1]}/pg_ctl" start --pgdata="$dir" --wait --log="$socket/log" --options="-c listen_addresses= -k $socket"
end() { as "${programs[-1]}/pg_ctl" stop --pgdata="$dir" --mode=fast --wait && rm -rf "$socket"; }
trap end EXIT
case $verb in
  create) pgbench --initialize --quiet --scale="$scale" --host="$socket" --username=postgres postgres ;;
  update) pgbench --transactions="$transactions" --random-seed=7 --host="$socket" --username=postgres postgres ;;
esac

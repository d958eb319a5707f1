#!/usr/bin/env bash
# Everything that a cluster has, on one machine and for one user, to try it out: PostgreSQL, MLflow server, Ray head and a second node.
#
#   docs/cluster/stack.sh start FOLDER      writes FOLDER/stack.env; then: . FOLDER/stack.env && snrlab run STUDY $SNRLAB_STACK
#   docs/cluster/stack.sh mlflow-stop FOLDER | mlflow-start FOLDER      the tracking server alone
#   docs/cluster/stack.sh stop FOLDER
#
# Needs the Debian package postgresql and the project's environment on PATH; with the extra `cluster` in it, there is also a job
# server (snrlab submit STUDY --address $SNRLAB_STACK_JOBS ...) and Prometheus metrics at $SNRLAB_STACK_METRICS.  PostgreSQL listens on a socket in FOLDER
# that only its owner can reach, MLflow and Ray on localhost: there is no password to be kept.
set -euo pipefail
action=${1:?start, stop, mlflow-start or mlflow-stop}
folder=$(realpath -m "${2:?a folder}")
postgres=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1)
mlflow_port=${MLFLOW_PORT:-5055} ray_port=${RAY_PORT:-6399} metrics_port=${METRICS_PORT:-8099} jobs_port=${JOBS_PORT:-8266}

as_owner() {  # PostgreSQL refuses to run as root
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

postgres_start() {
  mkdir -p "$folder/pg"
  if [ "$(id -u)" = 0 ]; then chown postgres "$folder/pg"; fi
  chmod 700 "$folder/pg"
  as_owner "$postgres/initdb" --pgdata "$folder/pg/data" --username snrlab --auth trust >"$folder/initdb.log"
  as_owner "$postgres/pg_ctl" --pgdata "$folder/pg/data" --log "$folder/pg/log" --wait \
    --options "-c listen_addresses= -c unix_socket_directories=$folder/pg" start >/dev/null
  for database in mlflow optuna; do as_owner "$postgres/createdb" --host "$folder/pg" --username snrlab "$database"; done
}

mlflow_start() {
  MLFLOW_DISABLE_TELEMETRY=true MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2:///mlflow?host=$folder/pg&user=snrlab" \
    setsid python -m mlflow server --artifacts-destination "$folder/artifacts" --host 127.0.0.1 --port "$mlflow_port" --workers 1 \
    >>"$folder/mlflow.log" 2>&1 </dev/null &
  echo $! >"$folder/mlflow.pid"
  for _ in $(seq 120); do
    if python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$mlflow_port/health', timeout=2)" 2>/dev/null; then return; fi
    sleep 0.5
  done
  echo "the MLflow server did not start; see $folder/mlflow.log" >&2
  exit 1
}

mlflow_stop() {
  if [ -f "$folder/mlflow.pid" ]; then pkill -TERM -s "$(cat "$folder/mlflow.pid")" || true; rm -f "$folder/mlflow.pid"; fi
}

ray_start() {
  export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
  ray get-auth-token --generate >/dev/null  # kept in the home folder, never shown
  local jobs=false
  if python -c "import opencensus" 2>/dev/null; then jobs=true; fi  # of ray[default]
  ray start --head --port "$ray_port" --node-ip-address 127.0.0.1 --num-cpus 2 --include-dashboard "$jobs" --dashboard-host 127.0.0.1 \
    --dashboard-port "$jobs_port" --metrics-export-port "$metrics_port" --temp-dir "$folder/ray" --disable-usage-stats >"$folder/ray.log" 2>&1
  # With a folder of its own, as on a machine of its own: nodes that share one take the code of jobs away from each other.
  ray start --address "127.0.0.1:$ray_port" --num-cpus 2 --temp-dir "$folder/ray2" >>"$folder/ray.log" 2>&1
}

ray_stop() {  # of this folder alone: `ray stop` would end every Ray of this user, and other studies with it
  for signal in TERM KILL; do
    pkill -"$signal" -f -- "[= ]$folder/ray" || return 0
    for _ in $(seq 20); do
      pgrep -f -- "[= ]$folder/ray" >/dev/null || return 0
      sleep 0.5
    done
  done
}

case $action in
  start)
    mkdir -p "$folder"
    postgres_start
    mlflow_start
    ray_start
    cat >"$folder/stack.env" <<END
export RAY_AUTH_MODE=token
export SNRLAB_STACK="--address 127.0.0.1:$ray_port --tracking-uri http://127.0.0.1:$mlflow_port"
export SNRLAB_SEARCH_STORAGE="postgresql+psycopg2:///optuna?host=$folder/pg&user=snrlab"
export SNRLAB_STACK_JOBS="http://127.0.0.1:$jobs_port"
export SNRLAB_STACK_METRICS="http://127.0.0.1:$metrics_port"
END
    echo "ready: . $folder/stack.env && snrlab run quickstart \$SNRLAB_STACK" ;;
  mlflow-start) mlflow_start ;;
  mlflow-stop) mlflow_stop ;;
  stop)
    ray_stop
    mlflow_stop
    as_owner "$postgres/pg_ctl" --pgdata "$folder/pg/data" --mode fast --wait stop >/dev/null || true ;;
  *) echo "start, stop, mlflow-start or mlflow-stop, not '$action'" >&2; exit 2 ;;
esac

#!/bin/bash
# What must hold on a GPU, and the figures there, in at most 8 minutes on a machine with one GPU and PyTorch.
#
#   benchmarks/gpu.sh                  on such a machine: prints a table, writes gpu_out/gpu.json
#   benchmarks/gpu.sh --dry-run        the same code on a CPU, tiny: shows that the script runs, and no more
#   benchmarks/gpu.sh --no-sweeps      without the parts that need Ray (killing, sharing a GPU)
#
# Without a network, put the packages that are missing there into a folder and name it: SITE=/tmp/site benchmarks/gpu.sh.
# PY is the Python to use, OUT the folder for logs and figures.
set -u
project=$(cd "$(dirname "$0")/.." && pwd)
: "${PY:=python3}" "${OUT:=gpu_out}" "${SITE:=}" "${LIMIT_S:=480}"
dry="" sweeps=1
for option in "$@"; do
    case $option in
        --dry-run) dry=--dry-run ;;
        --no-sweeps) sweeps=0 ;;
        *) echo "$0: no option $option (--dry-run, --no-sweeps)" >&2; exit 2 ;;
    esac
done
export PYTHONPATH=$project${SITE:+:$SITE}${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
missing=$("$PY" -c "
from importlib.util import find_spec
print(*(name for name in ('torch', 'timm', 'pyarrow', 'PIL', 'ray', 'optuna') if find_spec(name) is None))") || exit 2
[ -z "$missing" ] || { echo "$0: $PY lacks $missing: name another Python with PY=…, or a folder with SITE=…" >&2; exit 2; }
[ -z "$SITE" ] || chmod -R +x "$SITE"/ray/core 2> /dev/null # wheels that zipfile unpacked lose the run bit
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) && work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
began=$SECONDS wrong=0
left() { echo $((LIMIT_S - (SECONDS - began))); }
sweep() { "$PY" -m sweep_runner "$@" --results "$work/results"; }

echo "== checks and images/s"
timeout "$(left)" "$PY" -m benchmarks.gpu_checks "$work/trials" $dry --json "$OUT/gpu.json" | tee "$OUT/checks.txt"
[ "${PIPESTATUS[0]}" = 0 ] || wrong=1
if [ $sweeps = 0 ]; then exit $wrong; fi

model=mobilenetv3_small_100 size=96 trials=12 epochs=3 photos=1600 killed=8
if [ -n "$dry" ]; then model=mlp6 size=16 trials=3 epochs=2 photos=24 killed=3; fi
"$PY" -c "
import sys; from pathlib import Path; from benchmarks.photos import photos
print(photos(Path(sys.argv[1]), int(sys.argv[2]), max(12, int(sys.argv[2]) // 5)))" "$work/photos" "$photos" > "$work/folder"
write() { # name, trials, epochs, gpus
    cat > "$work/$1.yaml" << END
name: $1
data: {dataset: image_folder, root: $(cat "$work/folder"), split: {train: 0.5, val: 0.5, test: 0, given: true}}
fixed: {model: $model, input_resolution: $size, epochs: $3, pretrained: false, batch_size: 64}
space: {lr: {low: 1.0e-4, high: 1.0e-2, log: true}}
objective: {metric: val_accuracy, mode: max}
search: {sampler: random, trials: $2, seed: 11}
resources: {cpus: 1, gpus: $4}
export: {formats: [], latency: false}
dashboard: false
metrics: false
END
}
line() { # verdict, what, value
    printf '%-5s  %s: %s\n' "$1" "$2" "$3" | tee -a "$OUT/checks.txt"
    "$PY" - "$OUT/gpu.json" "$@" << 'END'
import json, sys
path, verdict, what, value = sys.argv[1:]
content = json.load(open(path))
content["rows"].append({"what": what, "value": value, "holds": {"ok": True, "WRONG": False}.get(verdict)})
json.dump(content, open(path, "w"))
END
}

echo "== kill -9, and resume"
write kill 3 $((2 * epochs)) auto
"$PY" -m sweep_runner run "$work/kill.yaml" --results "$work/results" > "$OUT/kill.log" 2>&1 &
driver=$!
for _ in $(seq 1200); do # until something is recorded
    [ "$(grep -c '"kind":"epoch"' "$work/results/kill/log.jsonl" 2> /dev/null || true)" -ge "$killed" ] 2> /dev/null && break
    kill -0 $driver 2> /dev/null || break
    sleep 0.1
done
kill -9 $driver 2> /dev/null; wait $driver 2> /dev/null
timeout "$(left)" "$PY" -m sweep_runner resume kill --results "$work/results" > "$OUT/resume.log" 2>&1
rows=$(sweep query "select count(*) || ' of ' || count(distinct (trial, epoch)) from epochs where sweep='kill'" --format csv 2> /dev/null | tail -1)
all=$((3 * 2 * epochs))
if [ "$rows" = "$all of $all" ]; then line ok "epochs after kill -9 and resume, and different ones" "$rows"; else line WRONG "epochs after kill -9 and resume, and different ones" "${rows:-none} (wanted $all)"; wrong=1; fi

echo "== $trials small trials: one at a time, and gpus: auto"
declare -A took
for gpus in 1 auto; do
    if [ -n "$dry" ] && [ $gpus = 1 ]; then write "share-$gpus" $trials $epochs 0; else write "share-$gpus" $trials $epochs $gpus; fi
    start=$SECONDS
    if timeout "$(left)" "$PY" -m sweep_runner run "$work/share-$gpus.yaml" --results "$work/results" > "$OUT/share-$gpus.log" 2>&1; then
        took[$gpus]=$((SECONDS - start))
        line "" "$trials trials, gpus: $gpus, whole command in s" "${took[$gpus]}"
    else
        line WRONG "$trials trials, gpus: $gpus" "exit code not 0, see share-$gpus.log"; wrong=1
    fi
done
sweep explain share-auto 2> /dev/null | tee -a "$OUT/checks.txt"
echo "in $((SECONDS - began)) s; figures: $OUT/gpu.json"
exit $wrong

#!/usr/bin/env bash
# Runs a sweep, or goes on with it where the results folder holds it already: the command of a job that may start again.
#
#   run-or-resume.sh FILE RESULTS [--set KEY=VALUE ...] [other options of sweep run, such as --address auto]
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: run-or-resume.sh FILE RESULTS [--set KEY=VALUE ...] [--address ADDRESS]" >&2
    exit 2
fi
file=$1 results=$2
shift 2
if [[ $results == *://* ]]; then
    echo "run-or-resume.sh: $results is not a folder; the script looks for the sweep in folders only: use sweep run or sweep resume" >&2
    exit 2
fi

settings=()
options=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --set)
            settings+=(--set "${2:-}")
            shift
            ;;
        --set=*) settings+=("$1") ;;
    esac
    shift
done

# --set name=... may set the name; an invalid file is reported with all its errors (exit code 2).
plan=$(sweep check "$file" "${settings[@]}" --results "$results" --json --quiet)
name=$(python -c 'import json, sys; print(json.load(sys.stdin)["spec"]["name"])' <<<"$plan")
if [ -f "$results/$name/sweep.yaml" ]; then
    exec sweep resume "$name" --file "$file" --results "$results" "${options[@]}"
fi
exec sweep run "$file" --results "$results" "${options[@]}"

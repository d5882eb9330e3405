#!/bin/bash
# run.sh [name...]: run the scripts, one log each under $LOGDIR, and print a table. SCRIPT_TMO seconds each (default 600).
# A name is a script (t03_scp, t03_scp.sh) or the beginning of one (t03). Ends with 0 only if something passed and nothing failed.
# A check that the file `exceptions` lists for this FORM has to fail: it is counted apart, and is an error if it passes or does
# not run. EXCEPTIONS names another file (/dev/null: none).
cd "$(dirname "$0")" || exit 2
FORM=${FORM:-direct} LOGDIR=${LOGDIR:-/tmp/conf-logs-${FORM:-direct}} EXCEPTIONS=${EXCEPTIONS:-exceptions}
mkdir -p "$LOGDIR" || exit 2
tp=0 tf=0 ts=0 tx=0 list=()
[ $# -gt 0 ] || set -- t
for a in "$@"; do a=${a%.sh}; n=0; for f in "$a"*.sh; do [ -x "$f" ] && [[ $f == t[0-9]* ]] && list+=("${f%.sh}") && n=1; done; [ $n = 1 ] || { echo "run.sh: no script named $a" >&2; exit 2; }; done

# older_than 9.9: is the client an OpenSSH before that version?
older_than() {
  local v; v=$("${SSH_BIN:-ssh}" -V 2>&1 | sed -n 's/^OpenSSH_\([0-9]*\)\.\([0-9]*\).*/\1 \2/p'); [ -n "$v" ] || return 1
  # shellcheck disable=SC2086  # two words on purpose
  set -- $v ${1/./ }; [ "$1" -lt "$3" ] || { [ "$1" -eq "$3" ] && [ "$2" -lt "$4" ]; }
}
in_force() { # in_force WHILE
  case $1 in always) return 0 ;; client\<*) older_than "${1#client<}" ;; *) echo "run.sh: $EXCEPTIONS: unknown condition \"$1\"" >&2; exit 2 ;; esac
}
trim() { local s=$1; s=${s#"${s%%[! ]*}"}; printf %s "${s%"${s##*[! ]}"}"; }
# excepted SCRIPT: the names of its checks that have to fail in this form, one a line
excepted() {
  local form script check while why
  while IFS='|' read -r form script check while why; do
    form=$(trim "$form"); case $form in '' | '#'*) continue ;; esac
    [ -n "$(trim "${why-}")" ] || { echo "run.sh: $EXCEPTIONS: no reason given for \"$(trim "$check")\"" >&2; exit 2; }
    [ "$form" = "$FORM" ] && [ "$(trim "$script")" = "$1" ] && in_force "$(trim "$while")" && trim "$check" && echo
  done <"$EXCEPTIONS"
  return 0
}
# says WORD CHECK LOG: does a line of the log give this verdict on this check?
says() { awk -v head="$1 $n: $2" 'index($0, head) == 1 && (length($0) == length(head) || index($0, head " -- ") == 1) { hit = 1 } END { exit !hit }' "$3"; }

for n in "${list[@]}"; do
 s=$(date +%s); timeout -k 90 "${SCRIPT_TMO:-600}" "./$n.sh" >"$LOGDIR/$n.log" 2>&1; rc=$?; e=$(date +%s)
 log=$LOGDIR/$n.log; names=$(excepted "$n") || exit 2
 p=$(grep -c ^PASS "$log"); f=$(grep -c ^FAIL "$log"); k=$(grep -c ^SKIP "$log"); x=0; end=; notes=
 grep -q ^SUM "$log" || { f=$((f+1)); end="  (no end line, rc=$rc)"; }
 while read -r check; do
  [ -n "$check" ] || continue
  if says FAIL "$check" "$log"; then f=$((f-1)); x=$((x+1)); notes+="EXCEPTED $n: $check"$'\n'
  elif says PASS "$check" "$log"; then f=$((f+1)); notes+="FAIL $n: $check -- passes, and is listed in $EXCEPTIONS: take it out there"$'\n'
  else f=$((f+1)); notes+="FAIL $n: $check -- is listed in $EXCEPTIONS and did not run"$'\n'; fi
 done <<<"$names"
 tp=$((tp+p)) tf=$((tf+f)) ts=$((ts+k)) tx=$((tx+x)); printf '%-16s pass %3d  fail %3d  skip %3d  excepted %d  %4d s%s\n' "$n" $p $f $k $x $((e-s)) "$end"
 while IFS= read -r line; do # an excepted FAIL is told once, as EXCEPTED
  case $line in FAIL*) c=${line#FAIL "$n": }; grep -qxF -- "${c%% -- *}" <<<"$names" && continue ;; esac; printf '%s\n' "$line"
 done < <(grep -E '^(FAIL|SKIP)' "$log"); printf %s "$notes"
done
echo "TOTAL form=$FORM pass=$tp fail=$tf skip=$ts excepted=$tx"; [ $tf -eq 0 ] && [ $tp -gt 0 ]

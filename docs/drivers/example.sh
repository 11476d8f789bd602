# A driver for a set that Redis keeps, in bash: docs/drivers/exec.md is the protocol.
read -r config
target=$(sed 's/.*"target":"\([^"]*\)".*/\1/' <<<"$config")

connect() { exec {link}<>"/dev/tcp/${target%:*}/${target##*:}"; }
answer() { read -r -t 1 -u "$link" line && line=${line%$'\r'}; }

x=0
until read -r -t 0.05 command; do # each 50 ms, until there is a command
  [ $? -gt 128 ] || exit          # the end of the input
  x=$((x + 1))
  echo '{"f":"add","x":'$x',"r":"invoke"}'
  if ! connect 2>/dev/null; then
    echo '{"r":"fail","e":"no connection"}' # nothing was sent
  elif printf 'SADD items %s\r\n' $x >&"$link" && answer; then
    case $line in
      :*) echo '{"r":"ok"}' ;;
      *) echo '{"r":"fail","e":"refused"}' ;;
    esac
  else
    echo '{"r":"unknown","e":"no answer"}' # it may have been added, or may yet be
  fi
  { exec {link}>&-; } 2>/dev/null
done
echo '{"done":"stop"}'

read -r command # "final"
connect
printf 'SMEMBERS items\r\n' >&"$link"
answer
for ((n = ${line#?}; n > 0; n--)); do
  answer # the element's length
  answer
  echo '{"f":"read","x":'"$line"',"r":"ok"}'
done
echo '{"done":"final"}'

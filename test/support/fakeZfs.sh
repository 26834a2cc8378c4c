#!/bin/sh
# `zfs` for one file system, FAKE_DATASET at FAKE_MOUNTPOINT: snapshots are copies in its .zfs/snapshot, what is known of them is
# in FAKE_ZFS, a file each.
set -e
dataset=$FAKE_DATASET
known=$FAKE_ZFS
copies=$FAKE_MOUNTPOINT/.zfs/snapshot
value() { sed -n "s/^$2=//p" "$known/$1"; }
missing() { echo "cannot open '$1': dataset does not exist" >&2; status=1; }
status=0
command=$1
shift
case $command in
list)
  for last; do :; done
  columns= type=
  while [ $# -gt 0 ]; do
    case $1 in
    -o) columns=$2; shift 2;;
    -t) type=$2; shift 2;;
    -*) shift;;
    *) break;;
    esac
  done
  if [ "$type" = filesystem ]; then
    printf '%s\ton\t-\t%s\n' "$dataset" "$FAKE_MOUNTPOINT"
    exit
  fi
  for full; do
    name=${full#*@}
    [ -f "$known/$name" ] || { missing "$full"; continue; }
    line=
    for column in $(echo "$columns" | tr , ' '); do
      case $column in
      name) is=$full;;
      *) is=$(value "$name" "$column");;
      esac
      line="$line${line:+	}${is:--}"
    done
    printf '%s\n' "$line"
  done;;
get)
  for file in "$known"/*; do
    [ -f "$file" ] || continue
    name=${file##*/}
    printf '%s@%s\t%s\n' "$dataset" "$name" "$(sed -n 's/^zipper:[a-z_-]*=//p;' "$file" | head -n 1)"
  done;;
snapshot)
  name=${3#*@}
  [ ! -e "$known/$name" ] || { echo "cannot create snapshot '$3': dataset already exists" >&2; exit 1; }
  mkdir -p "$copies/$name"
  for folder in "$FAKE_MOUNTPOINT"/*; do cp -a "$folder" "$copies/$name/"; done
  count=$(($(cat "$known/.count" 2>/dev/null || echo 100) + 1))
  echo $count > "$known/.count"
  { echo "$2"; echo "guid=77$count"; echo "createtxg=$count"; echo "creation=$(date +%s)"; echo userrefs=0; } > "$known/$name";;
diff)
  base=${2#*@} now=${3#*@}
  for folder in "$copies/$now"/*; do
    diff -rq "$copies/$base/${folder##*/}" "$folder" > /dev/null 2>&1 ||
      printf 'M\tF\t%s/%s/file\n' "$FAKE_MOUNTPOINT" "${folder##*/}"
  done;;
destroy)
  name=${1#*@}
  [ -f "$known/$name" ] || { missing "$1"; exit 1; }
  rm -r "$known/$name" "$copies/$name";;
*)
  echo "unrecognized command '$command'" >&2
  exit 2;;
esac
exit $status

#!/bin/sh
# `ssh` and `zfs` of two machines that have nothing to send: tank/data on the other one, and its replica here, both with the same
# snapshot. What goes through ssh runs here, and knows by FAKE_SIDE that it is there.
for last; do :; done
if [ "${0##*/}" = ssh ]; then
  case "$*" in *"-O "*) exit 0;; esac
  FAKE_SIDE=remote exec sh -c "$last"
fi
columns() { printf '%s\n' "$*" | tr ' ' '\t'; }
case $FAKE_SIDE in remote) dataset=tank/data;; *) dataset=tank/backup/nas/tank/data;; esac
case "$*" in
"list "*encryption*) columns $dataset filesystem 11 off - 0 -;;
"list "*,written*) columns $dataset@one 77 5 1735689600 0 - 0;;
"list "*snapshot*) columns $dataset@one 77 5 1735689600 0 -;;
"list "*mountpoint) columns "$FAKE_DATASET" on - "$FAKE_MOUNTPOINT";;
"list "*) columns $last;;
"get "*logicalreferenced*)
  for property in "type filesystem -" "guid 12 -" "canmount off local" "mounted no -" "written 0 -" "logicalreferenced 42 -" \
    "receive_resume_token - -" "zipper:send plain local"; do columns $last $property; done;;
*keystatus*) ;;
esac

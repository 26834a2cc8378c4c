import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { inTurn, type Measured, measure, middle } from "./measure.ts"
import { built, emptied, gigabytes, heading, ratio, row, runs } from "./setting.ts"
import { watchStream } from "./watchStream.ts"

/**
 * `zipper pull` of one large stream against the same pipe typed by hand. `zfs` and `ssh` are scripts: the one has two snapshots
 * on one side and streams zeros, the other runs its command here. So the pipe is as fast as it can be, and our part the largest.
 */

const zfs = `#!/bin/sh
for last; do :; done
columns() { printf '%s\\n' "$*" | tr ' ' '\\t'; }
case $FAKE_SIDE in remote) dataset=tank/data;; *) dataset=tank/backup/nas/tank/data;; esac
has_two() { [ "$FAKE_SIDE" = remote ] || [ -e "$FAKE_DIR/received" ]; }
case "$*" in
"list "*encryption*) columns $dataset filesystem 11 off - 0 -;;
"list "*,written*) columns $dataset@one 77 5 1735689600 0 - 0; has_two && columns $dataset@two 78 6 1735689700 0 - 0;;
"list "*snapshot*) columns $dataset@one 77 5 1735689600 0 -; has_two && columns $dataset@two 78 6 1735689700 0 -;;
"list "*) columns $last;;
"get "*logicalreferenced*)
  for property in "type filesystem -" "guid 12 -" "canmount off local" "mounted no -" "written 0 -" "logicalreferenced 42 -" \\
    "receive_resume_token - -" "zipper:send plain local"; do columns $last $property; done;;
"send "*)
  columns incremental one tank/data@two $FAKE_BYTES >&2
  columns size $FAKE_BYTES >&2
  # As zfs does with -vP: a line a second.
  (exec > /dev/null; while sleep 1 2>&-; do columns 12:00:00 1000000 tank/data@two >&2; done) &
  dd if=/dev/zero bs=128k count=$((FAKE_BYTES / 131072)) 2>/dev/null
  kill $!;;
"receive "*) cat > /dev/null; : > "$FAKE_DIR/received";;
esac
exit 0
`

const ssh = `#!/bin/sh
for last; do :; done
case "$*" in *"-O "*) exit 0;; esac
FAKE_SIDE=remote exec sh -c "$last"
`

const byHand =
  "ssh nas 'zfs send -vP -I tank/data@one tank/data@two' 2>/dev/null | zfs receive -u -s tank/backup/nas/tank/data"

export const pipe = async (): Promise<void> => {
  const place = emptied("pipe")
  const bin = join(place, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "zfs"), zfs, { mode: 0o755 })
  writeFileSync(join(bin, "ssh"), ssh, { mode: 0o755 })
  const [config, watcher, spent] = [join(place, "config.json"), join(place, "watch.cjs"), join(place, "spent.json")]
  writeFileSync(watcher, watchStream(spent))
  const job = {
    name: "nas",
    direction: "pull",
    host: "nas",
    user: "root",
    destination: "tank/backup",
    datasets: ["tank/data"]
  }
  const keys = { lockfile_path: join(place, "lock"), log_file: join(place, "log"), state_dir: join(place, "state") }
  writeFileSync(config, JSON.stringify({ ...keys, syslog: false, replication: [job] }))
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env["PATH"]}`,
    FAKE_DIR: place,
    FAKE_BYTES: String(gigabytes * 2 ** 30)
  }
  const afresh = (command: () => Promise<Measured>) => () => {
    rmSync(join(place, "received"), { force: true })
    return command()
  }
  const streams: Array<Pick<Measured, "seconds" | "cpu">> = []
  const pull = ["--require", watcher, built, "pull", "--quiet", "--config", config, "--job", "nas"]
  const [hand, whole] = await inTurn(runs, [
    afresh(() => measure("sh", ["-c", byHand], { env })),
    afresh(async () => {
      const measured = await measure(process.execPath, pull, { env })
      streams.push(JSON.parse(readFileSync(spent, "utf8")))
      return measured
    })
  ])
  if (hand === undefined || whole === undefined) return
  const seconds = middle(streams.map((stream) => stream.seconds))
  const own = middle(streams.map(({ cpu }) => cpu))
  heading(
    `a stream of ${gigabytes} GiB through the pipe, a script in place of ssh`,
    30,
    "seconds",
    "of by hand",
    "processor",
    "of by hand"
  )
  row("by hand", hand.seconds.toFixed(2), "", hand.cpu.toFixed(2), "")
  row("zipper pull, the stream", seconds.toFixed(2), ratio(seconds, hand.seconds), "", "")
  row("our process meanwhile", "", "", own.toFixed(3), (own / hand.cpu).toFixed(3))
  const total = [whole.seconds, ratio(whole.seconds, hand.seconds), whole.cpu, ratio(whole.cpu, hand.cpu)]
  row("zipper pull, the whole run", ...total.map((figure) => (typeof figure === "number" ? figure.toFixed(2) : figure)))
}

import * as fs from "node:fs"
import * as path from "node:path"
import { inTurn, type Measured, measure, middle } from "../bench/measure.ts"
import { watchStream } from "../bench/watchStream.ts"
import { fill, makeHosts } from "./replicationSupport.ts"
import { program, zfs } from "./support.ts"

/** Started by `pipe`: a full stream from this machine to itself by ssh, by hand and by `zipper pull`, in turn. Prints seconds and ratios. */
const [megabytes = Number.NaN, rounds = Number.NaN] = process.argv.slice(2).map(Number)

const hosts = makeHosts({ source: 2 * megabytes + 256, target: 2 * megabytes + 256 })
try {
  const source = `${hosts.source.name}/data`
  const [byHand, byZipper] = [`${hosts.target.name}/hand`, `${hosts.target.name}/zipper`]
  zfs("create", source)
  fill(zfs("get", "-H", "-o", "value", "mountpoint", source).trim(), "noise", megabytes)
  zfs("snapshot", `${source}@one`)
  const [watcher, spent] = ["watch.cjs", "spent.json"].map((name) => path.join(hosts.source.folder, name))
  if (watcher === undefined || spent === undefined) throw new Error("no place for the figures")
  fs.writeFileSync(watcher, watchStream(spent))
  const lock = path.join(hosts.source.folder, "zipper.lock")
  const pipe = `ssh localhost zfs send -vP ${source}@one 2>/dev/null | zfs receive -u -s ${byHand}`
  const options = ["--quiet", "--host", "localhost", "--lock", lock, "--destination", byZipper]
  const pull = ["--require", watcher, program, "pull", ...options, source]
  const afresh = (replica: string, command: () => Promise<Measured>) => async () => {
    const measured = await command()
    zfs("destroy", "-r", replica)
    return measured
  }
  const streams: Array<Pick<Measured, "seconds" | "cpu">> = []
  const [hand, whole] = await inTurn(rounds, [
    afresh(byHand, () => measure("bash", ["-o", "pipefail", "-c", pipe])),
    afresh(byZipper, async () => {
      const measured = await measure(process.execPath, pull)
      streams.push(JSON.parse(fs.readFileSync(spent, "utf8")))
      return measured
    })
  ])
  if (hand === undefined || whole === undefined) throw new Error("nothing was measured")
  const seconds = middle(streams.map((stream) => stream.seconds))
  const own = middle(streams.map(({ cpu }) => cpu))
  const of = (one: number, other: number): string => `${one.toFixed(2)} s, ${(one / other).toFixed(3)}`
  console.log(`${megabytes} MB through ssh in the guest, median of ${rounds}; ratios to the pipe by hand`)
  console.log(`by hand:            ${hand.seconds.toFixed(2)} s, processor ${hand.cpu.toFixed(2)} s`)
  console.log(`the stream:         ${of(seconds, hand.seconds)}`)
  console.log(`our process in it:  ${of(own, hand.cpu)} of its processor time`)
  console.log(`the whole command:  ${of(whole.seconds, hand.seconds)}`)
} finally {
  hosts.destroy()
}

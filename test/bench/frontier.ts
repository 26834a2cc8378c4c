import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { chart, type Point } from "./chart.ts"
import { corpora } from "./corpora.ts"
import { inTurn } from "./measure.ts"
import { nameOf, peers, unlike, zipper } from "./peers.ts"
import { chartPath, corpus, corpusNames, heading, machine, ratio, row, runs, work } from "./setting.ts"

/** Time and size together, at each level and of each peer: who wants less of both than zipper gives? */

type Time = "seconds" | "cpu"

const levels = [1, 2, 3, 4, 5, 6, 7, 8, 9]

const isOurs = ({ family }: Point): boolean => family === "zipper"

const beats = (time: Time, a: Point, b: Point): boolean => a[time] < b[time] && a.size < b.size

/** Ours that no other of ours beats: the points that a user has reason to choose. */
const choices = (time: Time, points: ReadonlyArray<Point>): ReadonlyArray<Point> =>
  points.filter((point) => isOurs(point) && !points.some((other) => isOurs(other) && beats(time, other, point)))

/** The levels that a peer's point beats. */
const beatenBy = (time: Time, peer: Point, points: ReadonlyArray<Point>): string =>
  choices(time, points)
    .filter((point) => beats(time, peer, point))
    .map(({ setting }) => setting)
    .join(" ")

/** Our fastest point that is at least as small as the peer's. */
const answerTo = (time: Time, peer: Point, points: ReadonlyArray<Point>): Point | undefined =>
  points
    .filter((point) => isOurs(point) && point.size <= peer.size)
    .reduce<Point | undefined>(
      (best, point) => (best === undefined || point[time] < best[time] ? point : best),
      undefined
    )

const megabytes = ({ size }: Point): string => (size / 1e6).toFixed(1)

const measured = async (name: string): Promise<ReadonlyArray<Point>> => {
  const folder = corpus(name)
  const contenders = [...levels.map(zipper), ...peers()]
  const sizes: Array<number> = []
  const medians = await inTurn(
    runs,
    contenders.map(({ archive }, index) => async () => {
      const result = await archive(folder)
      sizes[index] = result.size
      return result
    })
  )
  return contenders.flatMap(({ family, setting }, index) => {
    const figures = medians[index]
    if (figures === undefined) return []
    return [{ family, setting, seconds: figures.seconds, cpu: figures.cpu, size: sizes[index] ?? Number.NaN }]
  })
}

const judge = (name: string, points: ReadonlyArray<Point>): void => {
  const columns = ["seconds", "MB", "beats level", "ours is", "processor", "beats level", "ours is"]
  heading(`${name}: seconds and processor seconds to archive, read back and sum up`, 16, ...columns)
  const verdict = (time: Time, point: Point): ReadonlyArray<string> => {
    if (isOurs(point)) return [choices(time, points).includes(point) ? "" : "no choice", ""]
    const answer = answerTo(time, point, points)
    const best = answer === undefined ? "none" : `${ratio(answer[time], point[time])} (${answer.setting})`
    return [beatenBy(time, point, points), best]
  }
  for (const point of points) {
    row(
      nameOf(point),
      point.seconds.toFixed(2),
      megabytes(point),
      ...verdict("seconds", point),
      point.cpu.toFixed(2),
      ...verdict("cpu", point)
    )
  }
  const others = points.filter((point) => !isOurs(point))
  for (const [time, what] of [
    ["seconds", "wall time"],
    ["cpu", "processor time"]
  ] as const) {
    const winners = others.filter((peer) => beatenBy(time, peer, points) !== "").map(nameOf)
    const over = others.filter((peer) => {
      const answer = answerTo(time, peer, points)
      return answer === undefined || answer[time] > 0.8 * peer[time]
    })
    console.log(
      `\n${name}, ${what}: faster and smaller than a level of ours: ${winners.join(", ") || "no peer"}; ` +
        `not matched in 0.8 of the time: ${over.map(nameOf).join(", ") || "no peer"}`
    )
  }
}

/** For README: seconds, and MB in brackets. */
const summary = (all: Readonly<Record<string, ReadonlyArray<Point>>>): void => {
  const columns = ["zipper 1", "zipper 6", "zipper 9", "zip -6", "7zz -mx=1", "bsdtar -6", "tar+pigz -6"]
  heading(`for README: seconds (MB), ${machine}`, 10, ...columns.map((column) => column.padEnd(12)))
  for (const [name, points] of Object.entries(all)) {
    const cells = columns.map((column) => {
      const point = points.find((one) => nameOf(one) === column)
      return point === undefined ? "-" : `${point.seconds.toFixed(1)} (${(point.size / 1e6).toFixed(0)})`
    })
    row(name, ...cells)
  }
}

/** What was measured of a corpus stays in the work folder: chart and summary show all of it. */
export const frontier = async (): Promise<void> => {
  const file = join(work, "frontier.json")
  const all: Record<string, ReadonlyArray<Point>> = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {}
  console.log(
    "\nStrictly: a peer that takes less time than a level of ours and makes a smaller archive beats that level, unless another" +
      '\nlevel of ours beats it too ("no choice"). "ours is": the time of our fastest level (in brackets) that is at least as small' +
      `\nas the peer, of the peer's.\n${unlike}.`
  )
  for (const name of corpusNames) {
    const points = await measured(name)
    judge(name, points)
    all[name] = points
    writeFileSync(file, JSON.stringify(all))
  }
  const ordered = Object.fromEntries(Object.keys(corpora).flatMap((name) => (all[name] ? [[name, all[name]]] : [])))
  summary(ordered)
  writeFileSync(chartPath, chart(ordered, machine))
  console.log(`\nmade ${chartPath}`)
}

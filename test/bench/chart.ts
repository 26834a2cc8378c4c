/** The chart of the frontier: a panel for each corpus, time from left to right, size from bottom to top. */

/** What one program needs with one setting: wall and processor time in seconds, bytes of the archive. */
export interface Point {
  readonly family: string
  readonly setting: string
  readonly seconds: number
  readonly cpu: number
  readonly size: number
}

const panel = { width: 400, height: 260, left: 58, right: 24, top: 34, bottom: 40 }
const columns = 2
const title = 44

/** ours first, dark and thick; the peers in colours that differ in lightness too. */
const colours: Readonly<Record<string, string>> = {
  zipper: "#111827",
  zip: "#d97706",
  "7zz": "#2563eb",
  bsdtar: "#059669",
  python: "#db2777",
  "tar+pigz": "#7c3aed",
  "tar+igzip": "#94a3b8"
}

const text = (x: number, y: number, content: string, rest = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}"${rest === "" ? "" : ` ${rest}`}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`

/** Round numbers between the two. */
const ticks = (from: number, to: number): ReadonlyArray<number> =>
  [0.1, 1, 10, 100]
    .flatMap((ten) =>
      (to < 8 * from ? [1, 1.5, 2, 3, 4, 5, 7] : [1, 2, 5]).map((factor) => Number((factor * ten).toFixed(2)))
    )
    .filter((tick) => tick >= from && tick <= to)

/** Even steps that are round numbers. */
const steps = (from: number, to: number): ReadonlyArray<number> => {
  const power = 10 ** Math.floor(Math.log10((to - from) / 3))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => (to - from) / size <= 5) ?? 10 * power
  const first = Math.ceil(from / step)
  return Array.from({ length: Math.floor(to / step) - first + 1 }, (_, i) => (first + i) * step)
}

const drawPanel = (name: string, all: ReadonlyArray<Point>, atX: number, atY: number): ReadonlyArray<string> => {
  const sizes = all.filter(({ family }) => !family.startsWith("tar+")).map(({ size }) => size / 1e6)
  const span = Math.max(Math.max(...sizes) - Math.min(...sizes), Math.max(...sizes) * 0.02)
  const smallest = Math.min(...sizes) - span * 0.12
  const largest = Math.min(...sizes) + span * 1.12
  const points = all.filter(({ size }) => size / 1e6 >= smallest && size / 1e6 <= largest)
  const times = points.map(({ seconds }) => seconds)
  const [fastest, slowest] = [Math.min(...times) * 0.85, Math.max(...times) * 1.15]
  const [right, bottom] = [panel.width - panel.right, panel.height - panel.bottom]
  const x = (seconds: number): number =>
    panel.left + ((right - panel.left) * Math.log(seconds / fastest)) / Math.log(slowest / fastest)
  const y = (megabytes: number): number =>
    bottom - ((bottom - panel.top) * (megabytes - smallest)) / (largest - smallest)

  const grid = [
    ...ticks(fastest, slowest).flatMap((tick) => [
      `<path class="grid" d="M${x(tick).toFixed(1)} ${panel.top}V${bottom}"/>`,
      text(x(tick), bottom + 14, `${tick} s`, 'text-anchor="middle"')
    ]),
    ...steps(smallest, largest).flatMap((step) => [
      `<path class="grid" d="M${panel.left} ${y(step).toFixed(1)}H${right}"/>`,
      text(panel.left - 6, y(step) + 4, `${Number(step.toPrecision(6))} MB`, 'text-anchor="end"')
    ])
  ]
  const lines = [...new Set(points.map(({ family }) => family))].reverse().flatMap((family) => {
    const colour = colours[family] ?? "#64748b"
    const own = points.filter((point) => point.family === family)
    const places = own.map(({ seconds, setting, size }) => ({ setting, at: [x(seconds), y(size / 1e6)] as const }))
    const ours = family === "zipper"
    return [
      `<g stroke="${colour}" fill="${colour}">`,
      `<path fill="none" stroke-width="${ours ? 2.2 : 1.2}" d="M${places.map(({ at }) => at.map((one) => one.toFixed(1)).join(" ")).join("L")}"/>`,
      ...places.flatMap(({ at: [left, top], setting }) => [
        `<circle cx="${left.toFixed(1)}" cy="${top.toFixed(1)}" r="${ours ? 3.2 : 2.6}"/>`,
        ours
          ? text(left - 4, top + 13, setting, 'class="label"')
          : text(left + 5, top - 4, setting.replace("-mx=", "mx"), 'class="label"')
      ]),
      "</g>"
    ]
  })
  return [
    `<g transform="translate(${atX} ${atY})">`,
    text(panel.left, panel.top - 12, name, 'class="name"'),
    ...grid,
    `<path class="axis" d="M${panel.left} ${panel.top}V${bottom}H${right}"/>`,
    ...lines,
    "</g>"
  ]
}

const legend = (families: ReadonlyArray<string>, atX: number, atY: number): ReadonlyArray<string> => [
  `<g transform="translate(${atX + panel.left} ${atY + panel.top})">`,
  ...families.flatMap((family, i) => [
    `<path stroke="${colours[family] ?? "#64748b"}" stroke-width="${family === "zipper" ? 2.2 : 1.2}" d="M0 ${i * 20}H24"/>`,
    `<circle cx="12" cy="${i * 20}" r="3" fill="${colours[family] ?? "#64748b"}"/>`,
    text(32, i * 20 + 4, family === "zipper" ? "zipper, levels 1 to 9" : family)
  ]),
  ...[
    "Further to the left is faster, further down is smaller.",
    "tar+pigz and tar+igzip pack one tar, of which no file can be",
    "read alone; what is smaller than a panel shows is left out."
  ].map((line, i) => text(0, families.length * 20 + 8 + i * 15, line)),
  "</g>"
]

const heading = "Time to archive, read back and sum up, and size of the archive"

/** An SVG that shows each corpus; `machine` is named above. */
export const chart = (all: Readonly<Record<string, ReadonlyArray<Point>>>, machine: string): string => {
  const names = Object.entries(all)
  const place = (i: number) => [(i % columns) * panel.width, title + Math.floor(i / columns) * panel.height] as const
  const families = [...new Set(names.flatMap(([, points]) => points.map(({ family }) => family)))]
  const width = columns * panel.width
  const height = title + Math.ceil((names.length + 1) / columns) * panel.height
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11" fill="#334155">`,
    `<title>${heading}</title>`,
    "<style>.grid{stroke:#e2e8f0}.axis{stroke:#94a3b8;fill:none}.label{stroke:none;font-size:9px}.name{font-size:14px;font-weight:bold}</style>",
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(panel.left, 24, heading, 'class="name"'),
    text(panel.left, 40, machine),
    ...names.flatMap(([name, points], i) => drawPanel(name, points, ...place(i))),
    ...legend(families, ...place(names.length)),
    "</svg>\n"
  ].join("\n")
}

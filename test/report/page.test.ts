import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { HistoryRun } from "../../src/runs/History.ts"
import { makePlace, type Place, start } from "../support/program/built.ts"
import {
  archivedFolder,
  archiveRun,
  failedFolder,
  replicationRun,
  sampleHistory
} from "../support/program/reportHistory.ts"
import { browserName } from "../support/programs.ts"
import { type Browser, openBrowser, type Page } from "../support/terminal/browser.ts"

const hour = 3_600_000
const now = Date.now()
const nasty = "</script><img src=x onerror=alert(1)>"

let place: Place
let browser: Browser
beforeAll(async () => {
  place = makePlace({
    replication: [{ name: "nas", direction: "pull", host: "nas", destination: "tank/backup", datasets: ["tank/data"] }]
  })
  sample = await pageOf("sample", sampleHistory({ now, days: 40, folders, changing: 2, spread: 0.6 }))
  if (browserName !== undefined) browser = await openBrowser()
})
afterAll(async () => {
  place.remove()
  if (browserName !== undefined) await browser.close()
})

/** A page of the built file about this history. */
const pageOf = async (name: string, runs: ReadonlyArray<HistoryRun>, ...options: ReadonlyArray<string>) => {
  mkdirSync(join(place.target, ".zipper"), { recursive: true })
  writeFileSync(
    join(place.target, ".zipper", "history.jsonl"),
    runs.map((each) => `${JSON.stringify(each)}\n`).join("")
  )
  const file = join(place.root, `${name}.html`)
  const { status, stderr } = await start(["report", "--config", place.config, "--out", file, ...options]).ended
  assert.strictEqual(status, 0, stderr)
  return { file, url: pathToFileURL(file).href, size: readFileSync(file).length }
}

const folders = ["DOCS", "PH01", "MAIL", "WORK", "SCAN", "CODE", "MUSC", "VIDS"]
let sample: Awaited<ReturnType<typeof pageOf>>
const charts = ["total", "durations", "written", "sent", "replication-durations"]

/** How many pixels of a chart have the colour of each of its series, and how many any colour at all. */
const painted = (page: Page, id: string) =>
  page.evaluate(`(() => {
    const canvas = document.querySelector("#chart-${id} canvas")
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    const markers = [...document.querySelectorAll("#chart-${id} .u-marker")].slice(1)
    const wanted = markers.map((marker) => getComputedStyle(marker).backgroundColor.match(/\\d+/g).map(Number))
    const found = wanted.map(() => 0)
    let any = 0
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] === 0) continue
      any += 1
      wanted.forEach(([r, g, b], index) => {
        if (data[at] === r && data[at + 1] === g && data[at + 2] === b) found[index] += 1
      })
    }
    return { found, any }
  })()`) as Promise<{ readonly found: ReadonlyArray<number>; readonly any: number }>

/** How far the page reaches beyond a window of this width. (A phone's own idea of its width grows with the page.) */
const overflow = (page: Page, width = 360) =>
  page.evaluate(`Math.max(0, document.documentElement.scrollWidth - ${width})`)
const quiet = (page: Page) => {
  assert.deepStrictEqual(page.requests, [])
  assert.deepStrictEqual(page.complaints, [])
}

describe.skipIf(browserName === undefined)("the report in a browser", () => {
  for (const [width, dark] of [
    [1280, false],
    [1280, true],
    [360, false],
    [360, true]
  ] as const) {
    it(`draws every series of every chart, ${width} wide, ${dark ? "dark" : "light"}`, async () => {
      const page = await browser.open(sample.url, { width, dark })
      const colours = new Set<string>()
      for (const id of charts) {
        const { any, found } = await painted(page, id)
        assert.isAbove(any, 2000, id)
        assert.isAtLeast(found.length, id.endsWith("durations") ? 1 : 2, id)
        // Thin lines and small bars as well; a colour of the grid or of the text would be there thousands of times.
        for (const [index, pixels] of found.entries()) assert.isAbove(pixels, 20, `${id}: series ${index}`)
        colours.add(JSON.stringify(found))
      }
      assert.strictEqual(colours.size, charts.length)
      assert.strictEqual(await overflow(page, width), 0)
      const [back, ink] = String(
        await page.evaluate(
          "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join('|')"
        )
      ).split("|")
      const light = (colour = "") =>
        (colour.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3
      assert.strictEqual(light(back) < light(ink), dark)
      quiet(page)
    })
  }

  it("paints anew when the colours change, and in dark on light for paper", async () => {
    const page = await browser.open(sample.url, { width: 900 })
    const colour =
      "getComputedStyle(document.querySelector('#chart-total .u-series:nth-child(2) .u-marker')).backgroundColor"
    const becomes = (wanted: string) =>
      page.evaluate(`new Promise((resolve) => {
        const look = () => ${wanted} ? resolve(${colour}) : requestAnimationFrame(look)
        look()
      })`)
    const light = await becomes("true")
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: "dark" }]
    })
    const dark = await becomes(`${colour} !== ${JSON.stringify(light)}`)
    assert.isAbove((await painted(page, "total")).found[0] ?? 0, 20)
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert.strictEqual(await becomes("true"), light)
    await page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert.strictEqual(await becomes("true"), dark)
    quiet(page)
  })

  it("draws as wide as the window becomes", async () => {
    const page = await browser.open(sample.url, { width: 1280 })
    await page.send("Emulation.setDeviceMetricsOverride", {
      width: 360,
      height: 800,
      deviceScaleFactor: 1,
      mobile: true
    })
    const settled = `new Promise((resolve) => {
      const look = () => document.querySelector("#chart-total .u-wrap").offsetWidth < 360 ? resolve(true) : requestAnimationFrame(look)
      look()
    })`
    assert.strictEqual(await page.evaluate(settled), true)
    assert.strictEqual(await overflow(page), 0)
  })

  it("says what the tables say, in UTC, and the reader's own time beside it", async () => {
    const at = Date.UTC(2026, 0, 2, 3, 4)
    const runs = [
      archiveRun(at, { folders: [archivedFolder("ABCD", 5 * 1024 * 1024, 61)], unchanged: 0 }),
      archiveRun(at + hour, { folders: [failedFolder("ABCD", "cannot read a/b.txt: input/output error")] }),
      replicationRun(at + 2 * hour, [
        { dataset: "tank/data", target: "tank/backup/nas/tank/data", result: "sent", bytes: 2048 }
      ])
    ]
    const { url } = await pageOf("tables", runs, "--days", "3660")
    const page = await browser.open(url, { width: 1280 })
    const text = (selector: string) =>
      page.evaluate(
        `[...document.querySelectorAll(${JSON.stringify(selector)})].map((each) => each.innerText.replace(/\\s+/g, " ")).join(" / ")`
      )
    assert.include(await text("#archives .scroll tbody"), "ABCD failed 2026-01-02 03:04")
    assert.include(await text("#archives .scroll tbody"), "12 10.0 MiB 5.0 MiB 50 % 1 m 01 s 1")
    assert.include(
      await text("#failures .scroll tbody"),
      "2026-01-02 04:04 1 archive ABCD cannot read a/b.txt: input/output error"
    )
    assert.include(await text("#replicas .scroll tbody"), "tank/data tank/backup/nas/tank/data ok nas")
    assert.include(await text("#runs tbody tr:first-child"), "nas ok 1 sent, 2 up to date 2.0 KiB 30 s")
    assert.include(await text("header"), "cannot read a/b.txt")
    // Tokyo is nine hours ahead.
    assert.include(await page.evaluate("document.querySelector('#runs tbody tr:last-child time').title"), "12:04:00")
    quiet(page)
  })

  it("is as wide as the window, with cards in place of tables on a phone, with names of every kind", async () => {
    const long = join(place.root, "long.html")
    const words = "photos 2024 of a journey through Norway and Sweden, by train, by boat and on foot, all of them, 99%"
    const html = readFileSync(sample.file, "utf8")
    writeFileSync(long, html.replaceAll("VIDS", words).replaceAll("SCAN", "x".repeat(100)))
    const url = pathToFileURL(long).href
    for (const [width, display] of [
      [1280, "table"],
      [1190, "block"],
      [800, "block"],
      [390, "block"]
    ] as const) {
      const page = await browser.open(url, { width })
      assert.strictEqual(await overflow(page, width), 0)
      const wider = "[...document.querySelectorAll('body *')].filter((each) => !each.closest('svg, .uplot') && "
      assert.deepStrictEqual(
        await page.evaluate(`${wider} each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0)
          .map((each) => each.outerHTML.slice(0, 80))`),
        [],
        `${width}`
      )
      assert.strictEqual(
        await page.evaluate("getComputedStyle(document.querySelector('#archives table')).display"),
        display
      )
      quiet(page)
    }
    const phone = await browser.open(url, { width: 390 })
    // Each figure has its title beside it, and what has no figure takes no room.
    const shown = "[...document.querySelectorAll('#runs td')].filter((cell) => cell.offsetHeight > 0)"
    assert.strictEqual(await phone.evaluate(`${shown}.some((cell) => cell.innerText === "")`), false)
    assert.strictEqual(
      await phone.evaluate("getComputedStyle(document.querySelector('#archives td.figure'), '::before').content"),
      '"files"'
    )
  })

  it("can be read without its program", async () => {
    const page = await browser.open(sample.url, { width: 360, scripts: false })
    assert.strictEqual(await page.evaluate("document.querySelectorAll('canvas').length"), 0)
    assert.include(String(await page.evaluate("document.body.innerText")), "the tables hold the figures")
    assert.strictEqual(await page.evaluate("document.querySelectorAll('.lines svg path.area').length"), folders.length)
    assert.strictEqual(
      await page.evaluate("document.querySelectorAll('#archives .scroll tbody tr').length"),
      folders.length
    )
    assert.strictEqual(await overflow(page), 0)
  })

  it("takes no name or message for markup or program", async () => {
    const runs = [
      archiveRun(now - 3 * hour, { folders: [archivedFolder("ABCD", 10)] }),
      archiveRun(now - 2 * hour, { folders: [failedFolder("ABCD", `cannot read ${nasty}`)] }),
      replicationRun(
        now - hour,
        [
          { dataset: `tank/${nasty}`, target: nasty, result: "sent", bytes: 10 },
          { dataset: "tank/b", result: "refused", bytes: 5, error: `"'>${nasty}<!--<script>` }
        ],
        { job: nasty, host: nasty, run: nasty, outcome: "failed", error: nasty }
      )
    ]
    const { file, url } = await pageOf("nasty", runs)
    const page = await browser.open(url, { width: 360 })
    assert.strictEqual(await page.evaluate("document.images.length"), 0)
    assert.strictEqual(await page.evaluate("document.scripts.length"), 2)
    assert.include(String(await page.evaluate("document.body.innerText")), `cannot read ${nasty}`)
    assert.include(String(await page.evaluate("document.querySelector('#chart-sent').innerText")), `tank/${nasty}`)
    assert.strictEqual(await overflow(page), 0)
    quiet(page)

    // Even if it were markup: the policy runs nothing but the page's own program, and fetches nothing.
    const broken = join(place.root, "broken.html")
    writeFileSync(
      broken,
      readFileSync(file, "utf8").replace(
        "<main>",
        `<main><script>document.title = "run"</script><img src="http://127.0.0.1:9/x" onerror="document.title='run'">`
      )
    )
    const attacked = await browser.open(pathToFileURL(broken).href, { width: 1280 })
    assert.notStrictEqual(await attacked.evaluate("document.title"), "run")
    assert.isAbove(attacked.complaints.length, 0)
    assert.strictEqual(await attacked.evaluate("document.querySelectorAll('canvas').length > 0"), true)
  })

  it("of no runs says so", async () => {
    const { url } = await pageOf("empty", [])
    const page = await browser.open(url, { width: 360 })
    const text = String(await page.evaluate("document.body.innerText"))
    assert.include(text, "No run on")
    assert.include(text, "The history has no run")
    assert.strictEqual(await page.evaluate("document.querySelectorAll('canvas, table').length"), 0)
    assert.strictEqual(await overflow(page), 0)
    quiet(page)
  })

  it("says of itself that it is old", async () => {
    const { file } = sample
    const old = join(place.root, "old.html")
    writeFileSync(
      old,
      readFileSync(file, "utf8").replace(/data-made="[^"]*"/, `data-made="${new Date(now - 72 * hour).toISOString()}"`)
    )
    const page = await browser.open(pathToFileURL(old).href, { width: 1280 })
    assert.include(String(await page.evaluate("document.getElementById('stale').innerText")), "3 d 00 h old")
    const fresh = await browser.open(pathToFileURL(file).href, { width: 1280 })
    assert.strictEqual(await fresh.evaluate("document.getElementById('stale').hidden"), true)
  })
})

it("a year of hourly runs of a thousand folders stays small, and is drawn", async () => {
  const names = Array.from({ length: 1000 }, (_, index) => `A${String(index).padStart(3, "0")}`)
  const { size, url } = await pageOf(
    "year",
    sampleHistory({ now, days: 365, folders: names, changing: 3 }),
    "--days",
    "365"
  )
  assert.isBelow(size, 3_000_000)
  if (browserName === undefined) return
  const page = await browser.open(url, { width: 360 })
  assert.strictEqual(await page.evaluate("document.querySelectorAll('canvas').length"), 5)
  assert.strictEqual(await page.evaluate("document.querySelectorAll('#archives .scroll tbody tr').length"), 1000)
  assert.strictEqual(await overflow(page), 0)
  quiet(page)
})

it("the browser that this looks with is there in CI", () => {
  const packages = execFileSync("grep", ["-c", "chromium-headless-shell", ".ci/run"]).toString()
  assert.notStrictEqual(packages.trim(), "0")
})

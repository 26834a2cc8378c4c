import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { makePlace } from "../support/program/built.ts"
import { sampleHistory } from "../support/program/reportHistory.ts"
import { openBrowser } from "../support/terminal/browser.ts"

/** Makes the picture of the report in the README: `npm run picture`. Everything in it is made up. */

const [, , out = ""] = process.argv
const place = makePlace({
  replication: [{ name: "nas", direction: "pull", host: "nas", destination: "tank/backup", datasets: ["tank/data"] }]
})
try {
  const folders = ["DOCS", "PH01", "MAIL", "WORK", "SCAN", "CODE", "MUSC", "VIDS"]
  const runs = sampleHistory({ now: Date.now(), days: 75, folders, changing: 1, spread: 2.5 })
  mkdirSync(join(place.target, ".zipper"))
  writeFileSync(join(place.target, ".zipper", "history.jsonl"), runs.map((run) => `${JSON.stringify(run)}\n`).join(""))
  const file = join(place.root, "report.html")
  execFileSync(process.execPath, [
    resolve("dist/zipper.mjs"),
    ...["report", "--config", place.config, "--out", file, "--quiet"]
  ])
  const room =
    "412.0 GiB are free, and its archives grew by 16.6 GiB in the last 28 days: full in 694 days at this rate"
  writeFileSync(
    file,
    readFileSync(file, "utf8")
      .replaceAll(` on ${hostname()}`, " on backup1")
      .replace(/The target: [^<]*\./, `The target: ${room}.`)
  )

  const browser = await openBrowser()
  const page = await browser.open(pathToFileURL(file).href, { width: 1280 })
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(out, await page.picture(1330))
  await browser.close()
} finally {
  place.remove()
}

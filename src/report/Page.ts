import { count, duration, number } from "../text/Text.ts"
import type { Chart } from "./Chart.ts"
import {
  badge,
  dataElement,
  type Html,
  html,
  message,
  outcome,
  ownText,
  roughly,
  strip,
  time,
  timeAndAge,
  utc
} from "./Html.ts"
import type { JobReport } from "./Jobs.ts"
import type { Problem, Report } from "./Report.ts"
import { failuresTable, foldersTable, replicasTable, runsTable, sizeCharts } from "./Tables.ts"

export interface PageParts {
  /** Draws the charts. Undefined: run from source, there are tables only. */
  readonly script: string | undefined
  readonly style: string
  /** Content-Security-Policy that lets these two work, and nothing else. */
  readonly policy: string
}

/** The report as one HTML document that needs nothing beside it. Its program adds the charts alone; foreign text stays text. */
export const page = (report: Report, { policy, script, style }: PageParts): string => {
  const charts = [...report.archiveCharts, ...report.replicationCharts]
  const drawn = script === undefined || charts.length === 0
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
${ownText(generator)}
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${headline(report)}</title>
<style>${ownText(style)}</style>
</head>
<body data-made="${new Date(report.made).toISOString()}">
${header(report)}
<main>
${hasMore(report) ? sections(report) : empty(report)}
</main>
${footer(report)}
${dataElement("charts", charts)}
${drawn ? undefined : html`<script>${ownText(script)}</script>`}
</body>
</html>
`.text
}

/** Where a page says whose it is. Long before a title, which has a name from elsewhere. */
const generator = `<meta name="generator" content="zipper">`

/** Pages of before had no generator: they begin with this policy, a digest in it aside. */
const formerly =
  /^<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; script-src &#39;(?:none|sha256-[\w+/=]+)&#39;; style-src &#39;sha256-/

/** Whether a text begins as a page of {@link page} does, of this version or one before. */
export const isPage = (text: string): boolean => {
  const start = /^<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n/.exec(text)?.[0]
  if (start === undefined) return false
  const rest = text.slice(start.length, 1024)
  return rest.startsWith(generator) || formerly.test(rest)
}

/** "All well on nas", "2 things need a look on nas": what the page comes to. */
export const headline = (report: Report): string => {
  const { host, problems } = report
  if (!hasMore(report)) return `No run on ${host} yet`
  if (problems.length === 0) return `All well on ${host}`
  return `${count(problems.length, "thing")} ${problems.length === 1 ? "needs" : "need"} a look on ${host}`
}

/** There were runs, or there should have been, or there is a problem other than that a job has not run yet. */
const hasMore = ({ jobs, problems }: Report): boolean =>
  jobs.some(({ last, lockedOut, state }) => last !== undefined || lockedOut !== undefined || state === "forgotten") ||
  problems.length > jobs.filter(({ state }) => state === "new").length

const header = (report: Report): Html => {
  const ran = hasMore(report)
  return html`<header class="${!ran ? "idle" : report.problems.length === 0 ? "good" : "bad"}">
<h1>${headline(report)}</h1>
<p>Made ${time(report.made)} by zipper. The last ${count(report.days, "day")}; all times are UTC.</p>
<p id="stale" class="stale" hidden></p>
${ran && report.problems.length > 0 ? problemList(report.problems) : undefined}
</header>`
}

const mostProblems = 20

const problemList = (problems: ReadonlyArray<Problem>): Html => html`<ul class="problems">
${problems.slice(0, mostProblems).map(
  ({ since, subject, text }) =>
    html`<li><b class="name">${subject}</b>${since === undefined ? undefined : html` <span class="age">since ${time(since)}</span>`}<br>${message(text)}</li>
`
)}${problems.length > mostProblems ? html`<li>and ${number(problems.length - mostProblems)} more, see below</li>` : undefined}
</ul>`

const empty = (report: Report): Html => html`<section>
<h2>Nothing to show yet</h2>
<p>The history has no run: this page fills with the first <code>zipper run</code>, <code>zipper pull</code> or <code>zipper push</code> with this configuration.</p>
${report.jobs.length > 0 ? html`<p>Its jobs: ${report.jobs.map(({ name }) => name).join(", ")}.</p>` : undefined}
</section>`

const sections = (report: Report): Html => {
  const { archiveCharts, days, failures, folders, jobs, recent, replicas, replicationCharts, space } = report
  const none = html`<p>None in the last ${count(days, "day")}.</p>`
  const archives = html`<section id="archives"><h2>Archives</h2>
${foldersTable(report)}
${space === undefined ? undefined : html`<p class="note">The target: ${space}.</p>`}
${sizeCharts(report)}
${charts(archiveCharts)}</section>`
  const datasets = html`<section id="replicas"><h2>Replicas</h2>
${replicasTable(report)}
${charts(replicationCharts)}</section>`
  const link = (id: string, title: string) => html`<a href="#${id}">${title}</a>`
  return html`<nav aria-label="sections">${link("jobs", "Jobs")}${
    folders.length > 0 ? link("archives", "Archives") : undefined
  }${replicas.length > 0 ? link("replicas", "Replicas") : undefined}${link("failures", "Failures")}${link("runs", "Runs")}</nav>
<section id="jobs"><h2>Jobs</h2>
<div class="cards">
${jobs.map((job) => card(job, report))}</div></section>
${folders.length > 0 ? archives : undefined}
${replicas.length > 0 ? datasets : undefined}
<section id="failures"><h2>Failures</h2>
${failures.length > 0 ? failuresTable(report) : none}</section>
<section id="runs"><h2>Last runs</h2>
${recent.length > 0 ? runsTable(report) : none}</section>`
}

const card = (job: JobReport, { days, made }: Report): Html => {
  const { begun, days: bars, gap, good, last, name, runs, state, well, what } = job
  const working = html`<dt>at work</dt><dd>since ${timeAndAge(begun?.at, made)}</dd>`
  return html`<article class="card">
<h3>${name} ${badge(...conditions[state])}</h3>
<p class="sub">${what}${gap === undefined ? "" : `, every ${roughly(gap)}`}</p>
<dl>
<dt>last run</dt><dd>${timeAndAge(last?.started, made)}${
    last && html`<br>${outcome(last.run.outcome)} took ${duration(last.run.seconds * 1000)}`
  }</dd>
${begun?.atWork === true ? working : undefined}<dt>last all well</dt><dd>${timeAndAge(good?.started, made)}</dd>
<dt>${count(days, "day")}</dt><dd>${count(runs, "run")}${
    runs === 0 ? "" : `, ${number(well)} all well (${percent(well, runs)})`
  }</dd>
</dl>
${strip(bars)}
<p class="ends"><span>${bars[0] && utc(bars[0].at).slice(0, 10)}</span><span>today</span></p>
</article>
`
}

const percent = (part: number, whole: number): string =>
  part === whole ? "100\u00a0%" : `${Math.min(99.9, Math.floor((part / whole) * 1000) / 10)}\u00a0%`

const conditions: Readonly<Record<JobReport["state"], Parameters<typeof badge>>> = {
  well: ["good", "well"],
  failing: ["bad", "needs a look"],
  killed: ["bad", "killed"],
  silent: ["warn", "silent"],
  new: ["idle", "no run yet"],
  forgotten: ["bad", "nothing known"],
  past: ["idle", "not in the configuration"]
}

const titles: Readonly<Record<string, readonly [title: string, what: string]>> = {
  total: ["All archives", "the newest ones, and the files in them"],
  durations: ["Durations", "of whole runs"],
  written: ["Written", "size of new archives"],
  sent: ["Sent", "bytes of each dataset"],
  "replication-durations": ["Durations of replication", "of whole runs"]
}

const charts = (all: ReadonlyArray<Chart>): Html => html`<div class="charts">
${all.map(({ id, kind, step }) => {
  const [title, what] = titles[id] ?? [id, ""]
  return html`<figure><figcaption><b>${title}</b> <span class="sub">${what}${stepWords(kind, step)}</span></figcaption>
<div class="plot" id="chart-${id}"><p class="note">The chart is drawn by the page's own program; the tables hold the figures.</p></div></figure>
`
})}</div>`

const stepWords = (kind: Chart["kind"], step: number): string => {
  if (step === 0) return ""
  const length = step % 86_400 === 0 ? count(step / 86_400, "day") : count(step / 3600, "hour")
  if (kind === "stack") return `, per ${length.replace(/^1 /, "")}`
  return kind === "points" ? `; the highest in ${length}` : `; every ${length}`
}

const footer = ({ from, made, unreadable }: Report): Html => html`<footer>
<p>From ${utc(from)} to ${utc(made)} UTC.${
  unreadable > 0
    ? html` ${count(unreadable, "line")} of the history could not be understood and ${unreadable === 1 ? "is" : "are"} left out.`
    : undefined
}</p>
</footer>`

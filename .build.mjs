import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { build } from "esbuild"

// Makes the one file that is installed: the program, and in it, as a text, the small program of its worker threads. A thread
// that loaded the whole file would spend more on that than on most of its work.

// Usage: node .build.mjs [FOLDER]
const dist = process.argv[2] ?? "dist"
const { version } = JSON.parse(readFileSync("package.json", "utf8"))

// Libraries that are no modules ask for node's own by require. Not from import.meta.url: where there is no /proc, that of the
// executable is no path.
const withRequire = "import { createRequire } from 'node:module'; const require = createRequire('/');"

const common = {
  bundle: true,
  // Not modules: their imports of node's own modules would all be loaded before the first line runs.
  format: "cjs",
  platform: "node",
  target: "node20.15",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "warning"
}

const worker = await build({
  ...common,
  entryPoints: ["src/worker.ts"],
  minifyIdentifiers: true,
  write: false
})

// The program and the style sheet that are in every report.
const page = await build({
  entryPoints: ["src/report/browser/page.ts", "src/report/browser/page.css"],
  bundle: true,
  format: "iife",
  platform: "browser",
  target: ["chrome100", "firefox100", "safari15"],
  minify: true,
  legalComments: "none",
  logLevel: "warning",
  outdir: dist,
  write: false
})
// As its licence asks: the notice goes with every copy.
const licence = `/* uPlot, https://github.com/leeoniya/uPlot\n\n${readFileSync("node_modules/uplot/LICENSE", "utf8").trim()}\n*/\n`
const pageText = (end) => page.outputFiles.find(({ path }) => path.endsWith(end)).text.trim()

// The library for MQTT is a fifth of all code: as a text, it is compiled for `suspend` alone.
const mqtt = await build({ ...common, entryPoints: ["mqtt"], minifyIdentifiers: true, write: false })
const mqttAsText = {
  name: "mqtt as text",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^mqtt$/ }, ({ path }) => ({ path, namespace: "text" }))
    onLoad({ filter: /^mqtt$/, namespace: "text" }, () => ({
      contents: `const module = { exports: {} }
        require("node:vm").compileFunction(${JSON.stringify(mqtt.outputFiles[0].text)}, ["require", "module", "exports"])(
          require, module, module.exports)
        export const { connect } = module.exports`
    }))
  }
}

// The library would load the prompts of its wizard with every command; the program refuses the wizard.
const prompts = /@effect\/cli\/dist\/esm\/internal\/prompt\/[\w-]+\.js$/
let prompted = 0
const withoutPrompts = {
  name: "without prompts",
  setup: ({ onLoad }) =>
    onLoad({ filter: prompts }, ({ path }) => {
      prompted += 1
      const names = [...readFileSync(path, "utf8").matchAll(/^export (?:const|function) (\w+)/gm)]
      return { contents: names.map(([, name]) => `export const ${name} = undefined\n`).join("") }
    })
}

await build({
  ...common,
  entryPoints: ["src/main.ts"],
  plugins: [mqttAsText, withoutPrompts],
  define: {
    "process.env.ZIPPER_VERSION": JSON.stringify(version),
    "process.env.ZIPPER_WORKER": JSON.stringify(worker.outputFiles[0].text),
    "process.env.ZIPPER_PAGE_SCRIPT": JSON.stringify(`${licence}${pageText(".js")}`),
    "process.env.ZIPPER_PAGE_STYLE": JSON.stringify(pageText(".css"))
  },
  banner: { js: `#!/usr/bin/env node\n${withRequire}` },
  outfile: `${dist}/zipper.mjs`
})
if (prompted === 0) throw new Error("the library's prompts are no longer where the filter looks for them")
chmodSync(`${dist}/zipper.mjs`, 0o755)

// The manual pages, from the same command tree and the schema of the configuration.
const maker = `${dist}/manual-${process.pid}.mjs`
try {
  await build({
    ...common,
    entryPoints: ["src/cli/roff.ts"],
    format: "esm",
    banner: { js: withRequire },
    outfile: maker
  })
  const { manualPages } = await import(pathToFileURL(resolve(maker)).href)
  const made = process.env.SOURCE_DATE_EPOCH === undefined ? new Date() : new Date(process.env.SOURCE_DATE_EPOCH * 1000)
  for (const [name, text] of Object.entries(await manualPages(version, made.toISOString().slice(0, 10)))) {
    writeFileSync(`${dist}/${name}`, text)
  }
} finally {
  rmSync(maker, { force: true })
}

console.log(`made ${dist}/zipper.mjs, zipper.1 and zipper.json.5; try it: node ${dist}/zipper.mjs demo`)

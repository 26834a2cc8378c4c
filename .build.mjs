import { chmodSync } from "node:fs"
import { build } from "esbuild"

// Makes the one file that is installed: the program, and in it, as a text, the small program of its worker threads. A thread
// that loaded the whole file would spend more on that than on most of its work.

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
  entryPoints: ["src/workers/worker.ts"],
  minifyIdentifiers: true,
  write: false
})

await build({
  ...common,
  entryPoints: ["src/main.ts"],
  define: {
    "process.env.ZIPPER_VERSION": JSON.stringify(process.env.npm_package_version),
    "process.env.ZIPPER_WORKER": JSON.stringify(worker.outputFiles[0].text)
  },
  banner: {
    js: "#!/usr/bin/env node\nimport { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
  },
  outfile: "dist/zipper.mjs"
})
chmodSync("dist/zipper.mjs", 0o755)

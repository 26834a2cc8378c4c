import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { build } from "esbuild"

// Lists what dist/zipper.mjs is made of, as CycloneDX: the packages that the bundler takes something of, of those in the lock
// file. The package itself has no dependencies: its one file holds them.

// Usage: node .sbom.mjs [FILE]
const file = process.argv[2] ?? "dist/zipper.cdx.json"

const { metafile } = await build({
  entryPoints: ["src/main.ts", "src/worker.ts", "src/report/browser/page.ts"],
  bundle: true,
  platform: "node",
  metafile: true,
  write: false,
  outdir: "dist",
  logLevel: "warning"
})
const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"))
const bundled = new Set(
  Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => {
      const [place, name] = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? []
      return place === undefined || bytesInOutput === 0 ? [] : [`${name}@${packages[place].version}`]
    })
  )
)

const args = ["sbom", "--package-lock-only", "--sbom-format", "cyclonedx"]
const all = JSON.parse(execFileSync("npm", args, { encoding: "utf8", maxBuffer: 1e9 }))
const components = all.components.filter((component) => bundled.has(component["bom-ref"]))
if (components.length !== bundled.size) throw new Error(`npm sbom lacks one of ${[...bundled].join(", ")}`)
// They are part of what runs, whatever package.json has them for.
const shipped = components.map(({ properties: _, ...component }) => ({ ...component, scope: "required" }))
const known = new Set([all.metadata.component["bom-ref"], ...components.map((component) => component["bom-ref"])])
const dependencies = all.dependencies.flatMap(({ dependsOn, ref }) =>
  known.has(ref) ? [{ ref, dependsOn: dependsOn.filter((each) => known.has(each)) }] : []
)
writeFileSync(file, `${JSON.stringify({ ...all, components: shipped, dependencies }, undefined, 2)}\n`)
console.log(`${file}: ${components.length} packages`)

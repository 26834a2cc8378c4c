import { defineConfig } from "vitest/config"

// `npm run test:long`: what takes half a minute by itself (kills at every step, archives beyond 4 GiB).
const long = process.env["ZIPPER_TESTS"] === "long"

// Many tests wait for processes that they have started.
const forks = long ? 2 : 4

// Lives here because the top level holds nothing but what a user looks for.
export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    include: [long ? "test/**/*.long.test.ts" : "test/**/*.test.ts"],
    exclude: ["test/guest/**", "test/bench/**", "node_modules/**", ...(long ? [] : ["test/**/*.long.test.ts"])],
    globalSetup: "test/support/programs.ts",
    testTimeout: long ? 300_000 : 60_000,
    // No test uses the configuration of this machine.
    env: { ZIPPER_CONFIG: "/nonexistent/zipper.json" },
    pool: "forks",
    // Loading the libraries anew for each file takes longer than most files. As many at least as at most: vitest 3.2 fails when
    // it takes an idle one away.
    poolOptions: { forks: { minForks: forks, maxForks: forks, isolate: false } }
  }
})

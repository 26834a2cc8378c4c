import { defineConfig } from "vitest/config"

// Lives here because the top level holds nothing but what a user looks for.
export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/zfs/**", "test/bench/**", "node_modules/**"],
    testTimeout: 60_000,
    pool: "forks",
    poolOptions: { forks: { maxForks: 3 } }
  }
})

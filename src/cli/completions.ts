/**
 * The library's completion scripts with its mistakes mended: in bash it looks for `notify__test` where the
 * person types `notify-test`, and never finds a command below a command (`config init`); two options of its own
 * that nobody needs here are left out.
 */
export const mendCompletions = (script: string): string =>
  script
    .split("\n")
    .filter((line) => !(ownOptions.test(line) && !line.includes("opts=")))
    .map((line) => line.replace(/ --(?:log-level|wizard)\b/g, ""))
    .join("\n")
    // Which values are files: fish and zsh have to be told.
    .replace(new RegExp(`-l (${files}) -r -f`, "g"), "-l $1 -r -F")
    .replace(new RegExp(`'(-c|--(?:${files}))\\[([^\\]]*)\\]'`, "g"), "'$1[$2]:FILE:_files'")
    // A list is no place for examples.
    .replace(/ Example: [^'\n]*(?=')/g, "")
    .replace(/^(\s+)zipper,([\w,]+)\)$/gm, (_, indent: string, words: string) => {
      const path = words.split(",").map((word) => word.replaceAll("__", "-"))
      const parents = ["zipper", ...path.slice(0, -1)].join("__")
      return `${indent}${parents},${path.at(-1)})`
    })

/** Options whose value is a file or folder. */
const files = "config|source|target|tmp-dir|gotify-token-file|lock|to|out"

const ownOptions = /(?:--|-l )(?:log-level|wizard)\b/

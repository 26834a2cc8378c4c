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
    // A configuration is a file: fish and zsh have to be told.
    .replace(/-s c -l config -r -f/g, "-s c -l config -r -F")
    .replace(/'(-c|--config)\[([^\]]*)\]'/g, "'$1[$2]:FILE:_files'")
    .replace(/^(\s+)zipper,([\w,]+)\)$/gm, (_, indent: string, words: string) => {
      const path = words.split(",").map((word) => word.replaceAll("__", "-"))
      const parents = ["zipper", ...path.slice(0, -1)].join("__")
      return `${indent}${parents},${path.at(-1)})`
    })

const ownOptions = /(?:--|-l )(?:log-level|wizard)\b/

import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as AST from "effect/SchemaAST"
import { didYouMean } from "../text/Text.ts"

type Path = ReadonlyArray<PropertyKey>

/** One thing that is wrong with a configuration. */
export type ConfigIssue =
  | { readonly _tag: "Missing"; readonly path: Path; readonly expected: string }
  | { readonly _tag: "Wrong"; readonly path: Path; readonly value: unknown; readonly expected: string }
  | { readonly _tag: "Unknown"; readonly path: Path; readonly known: ReadonlyArray<string> }
  /** Fine on its own, impossible together with another value; the message goes after the key. */
  | { readonly _tag: "Contradiction"; readonly path: Path; readonly message: string }

/** The mistakes in a parse error. Where a schema has a description, the mistake is "value is not description". */
export const issuesOf = (error: ParseResult.ParseError): ReadonlyArray<ConfigIssue> => walk(error.issue, [])

const walk = (issue: ParseResult.ParseIssue, path: Path, known: ReadonlyArray<string> = []): Array<ConfigIssue> => {
  switch (issue._tag) {
    case "Pointer":
      return walk(issue.issue, path.concat(issue.path), known)
    case "Unexpected":
      return [{ _tag: "Unknown", path, known }]
    case "Missing":
      return [{ _tag: "Missing", path, expected: expectedBy(issue.ast) }]
    case "Type":
    case "Forbidden":
      // A filter with a message of its own.
      if (issue.message !== undefined) {
        return [{ _tag: "Contradiction", path, message: `${show(issue.actual, path)} ${issue.message}` }]
      }
      return [{ _tag: "Wrong", path, value: issue.actual, expected: expectedBy(issue.ast) }]
    default: {
      const description = descriptionOf(issue.ast)
      if (description !== undefined) {
        return [{ _tag: "Wrong", path, value: issue.actual, expected: description }]
      }
      if (issue._tag !== "Composite") return walk(issue.issue, path, known)
      const keys = AST.isTypeLiteral(issue.ast) ? issue.ast.propertySignatures.map(({ name }) => String(name)) : known
      const issues = "_tag" in issue.issues ? [issue.issues] : issue.issues
      return issues.flatMap((inner) => walk(inner, path, keys))
    }
  }
}

const descriptionOf = (ast: AST.Annotated): string | undefined =>
  Option.getOrUndefined(AST.getDescriptionAnnotation(ast))

const expectedBy = (ast: AST.AST | AST.Type): string => {
  if (ast instanceof AST.Type) return expectedBy(ast.type)
  switch (ast._tag) {
    case "TypeLiteral":
      return "an object { … }"
    case "TupleType":
      return "a list [ … ]"
    case "Transformation":
    case "Refinement":
      return descriptionOf(ast) ?? expectedBy(ast.from)
    default:
      return descriptionOf(ast) ?? String(ast)
  }
}

/** Sorted as the file has its keys; what is missing in an object comes after what is there. */
export const inFileOrder = (input: unknown, issues: ReadonlyArray<ConfigIssue>): ReadonlyArray<ConfigIssue> => {
  const ranked = issues.map((issue) => ({ issue, rank: rankOf(input, issue.path) }))
  return ranked.sort((a, b) => compare(a.rank, b.rank)).map(({ issue }) => issue)
}

const rankOf = (input: unknown, path: Path): ReadonlyArray<number> => {
  let value = input
  return path.map((key) => {
    if (Array.isArray(value)) {
      value = value[Number(key)]
      return Number(key)
    }
    const rank = Predicate.isRecord(value) ? Object.keys(value).indexOf(String(key)) : -1
    value = Predicate.isRecord(value) ? value[String(key)] : undefined
    return rank < 0 ? Number.MAX_SAFE_INTEGER : rank
  })
}

const compare = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  for (const [index, rank] of a.entries()) {
    const other = b[index]
    if (other === undefined) return 1
    if (rank !== other) return rank - other
  }
  return a.length - b.length
}

/** Each mistake as a line: key (or the name by `nameOf`), value, what was expected. Shows no secrets. */
export const linesOf = (
  issues: ReadonlyArray<ConfigIssue>,
  nameOf: (path: Path) => string = keyOf
): ReadonlyArray<string> => issues.map((issue) => lineOf(issue, nameOf(issue.path)))

const lineOf = (issue: ConfigIssue, key: string): string => {
  switch (issue._tag) {
    case "Missing":
      return `${key}: is missing; expected ${issue.expected}`
    case "Unknown":
      return `${key}: unknown key${didYouMean(issue.known, String(issue.path.at(-1) ?? ""))}`
    case "Wrong":
      return issue.path.length === 0
        ? `the file holds ${show(issue.value)}, not ${issue.expected}`
        : `${key}: ${isSecret(issue.path) ? "the value (hidden)" : show(issue.value, issue.path)} is not ${issue.expected}`
    case "Contradiction":
      return `${key}: ${issue.message}`
  }
}

const keyOf = (path: Path): string =>
  path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`
      const name = /^[\w-]+$/.test(String(part)) ? String(part) : show(String(part))
      return index === 0 ? name : `.${name}`
    })
    .join("")

// A value in place of a whole section may be its secret.
const isSecret = (path: Path): boolean =>
  path.some((part) => /token$|password|passwd|secret|^ping_url$/i.test(String(part))) ||
  /^(gotify|mqtt)$/.test(String(path.at(-1)))

/** An address without user name, password and what follows the path. A password may hold anything: all goes up to the last `@`. */
export const maskAddress = (text: string): string => text.replace(/(\/\/).*@/s, "$1").replace(/[?#].*$/s, "")

// A pattern has ? and # that begin no query. Any other text may be an address, also one without http://.
const isPattern = (path: Path): boolean => path.some((part) => part === "folders" || part === "exclude")

const show = (value: unknown, path: Path = []): string => {
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list"
  if (Predicate.isRecord(value)) return "an object"
  const text = typeof value === "string" ? JSON.stringify(isPattern(path) ? value : maskAddress(value)) : String(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

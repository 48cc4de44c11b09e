import ts from 'typescript'

const { CommonJS, ESNext, Node16, NodeNext, Preserve } = ts.ModuleKind
const { Node10, Bundler } = ts.ModuleResolutionKind

export interface Resolution {
  readonly name: string
  /** `type` of the package that has the import. */
  readonly type: 'commonjs' | 'module'
  readonly options: ts.CompilerOptions
}

/** Every way in which TypeScript looks for the declarations of a package. */
export const resolutions: readonly Resolution[] = [
  { name: 'node10', type: 'commonjs', options: { module: CommonJS, moduleResolution: Node10 } },
  { name: 'node16 in a CommonJS package', type: 'commonjs', options: { module: Node16 } },
  { name: 'node16 in a package of ES modules', type: 'module', options: { module: Node16 } },
  { name: 'nodenext in a CommonJS package', type: 'commonjs', options: { module: NodeNext } },
  { name: 'nodenext in a package of ES modules', type: 'module', options: { module: NodeNext } },
  { name: 'bundler', type: 'module', options: { module: ESNext, moduleResolution: Bundler } },
  {
    name: 'bundler for browsers',
    type: 'module',
    options: { module: Preserve, moduleResolution: Bundler, customConditions: ['browser'] },
  },
]

const files = new Map<string, ts.SourceFile | undefined>()

/**
 * Compiles a file as an application would, with the declarations of what it imports.
 *
 * @param more what is particular to the package
 * @returns what TypeScript has to say, empty for nothing
 */
export function problemsOf (file: string, { options }: Resolution, more: ts.CompilerOptions): string {
  const all: ts.CompilerOptions = {
    ...options,
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    types: [],
    skipDefaultLibCheck: true,
    ...more,
  }
  const host = ts.createCompilerHost(all)
  const { getSourceFile } = host
  // The library of the language is read once for all of them.
  host.getSourceFile = (path, ...rest) => {
    if (!path.includes('/typescript/lib/')) return getSourceFile(path, ...rest)
    if (!files.has(path)) files.set(path, getSourceFile(path, ...rest))
    return files.get(path)
  }
  const problems = ts.getPreEmitDiagnostics(ts.createProgram([file], all, host))
  return ts.formatDiagnostics(problems, { ...host, getNewLine: () => '\n' })
}

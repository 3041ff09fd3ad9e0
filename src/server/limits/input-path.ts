/** Paths of input values in the form that user errors use. */
import type { ProblemPath } from '../../errors.ts';

/** @param path Begins with the name of the argument, which is left out for the argument `input`. */
export function inputPath(path: ProblemPath): ProblemPath {
  return path[0] === 'input' ? path.slice(1) : path;
}

import type { Route, World } from './world.ts';

export const corpusRoutes: Route[] = [];
export function finishSource(_world: World, _sourceId: string): void {}

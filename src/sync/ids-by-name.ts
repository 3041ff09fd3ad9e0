/** Ids of the remote resources in a list that have exactly this name. */
export async function idsByName<Resource extends { name: string | null }>(
  resources: AsyncIterable<Resource>,
  name: string,
  idOf: (resource: Resource) => string,
): Promise<string[]> {
  const ids: string[] = [];
  for await (const resource of resources) {
    if (resource.name === name) ids.push(idOf(resource));
  }
  return ids;
}

/** TypeScript type by name of scalar: the option `scalars` of GraphQL Code Generator. */
export declare const scalars: Record<string, string>;

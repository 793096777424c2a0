#version 330 core
// Where a pixel's centre meets the triangle that it is known to see, from the exact geometry, and which lamps reach it.
uniform isampler2D numbers;      // at twice the resolution
uniform int first;               // 1 for pixels' centres, 0 for their corners
uniform isamplerBuffer triangles;
uniform samplerBuffer vertices;
uniform sampler2DArrayShadow maps;
uniform vec3 eye;
uniform mat3 world_from_pixel;  // of a pixel's (x, y, 1): the direction of planar depth 1
uniform int num_lamps;
uniform mat4 map_from_world[4];
uniform float texel_m[4];       // how wide a map's texel is, at distance 1 of a lamp that is not infinitely far
uniform vec4 lamp_place[4];     // w is 0 for a direction
uniform int num_large;
uniform int large[32];          // triangles that reach out of the maps

layout(location = 0) out vec4 seen;  // number of the triangle, depth, and weights of its second and third corners
layout(location = 1) out vec4 lit;

ivec3 corners_of(int number)
{
    int at = 3 * number;
    return ivec3(texelFetch(triangles, at).x, texelFetch(triangles, at + 1).x, texelFetch(triangles, at + 2).x);
}

// Whether a triangle lies between a place and a lamp in the direction `towards`, which ends there if the lamp is near.
bool blocks(int number, vec3 start, vec3 towards, bool is_near)
{
    ivec3 corner = corners_of(number);
    vec3 a = texelFetch(vertices, corner.x).xyz;
    vec3 ab = texelFetch(vertices, corner.y).xyz - a, ac = texelFetch(vertices, corner.z).xyz - a;
    vec3 from = start - a, across = cross(ab, ac);
    float along = -dot(across, towards);
    if (abs(along) < 1e-12)
        return false;
    float far = dot(from, across) / along;
    vec2 weight = vec2(dot(cross(ac, from), towards), dot(cross(from, ab), towards)) / along;
    return far > 0.0 && !(is_near && far > 1.0) && weight.x >= 0.0 && weight.y >= 0.0 && weight.x + weight.y <= 1.0;
}

float reached(int lamp, vec3 place, float depth_m, vec3 normal)
{
    vec3 towards = lamp_place[lamp].xyz - lamp_place[lamp].w * place;
    if (dot(normal, towards) <= 0.0)
        return 0.0;
    float wide_m = texel_m[lamp] * (lamp_place[lamp].w > 0.0 ? length(towards) : 1.0);
    // off the surface, by more where a texel of the map covers more
    vec3 start = place + normal * (0.002 + 0.001 * depth_m + 1.5 * wide_m);
    for (int index = 0; index < num_large; index++)
        if (blocks(large[index], start, towards, lamp_place[lamp].w > 0.0))
            return 0.0;
    vec4 there = map_from_world[lamp] * vec4(start, 1.0);
    vec3 at = there.xyz / there.w;
    if (there.w <= 0.0 || any(lessThan(at.xy, vec2(0.0))) || any(greaterThan(at.xy, vec2(1.0))))
        return 1.0;
    return texture(maps, vec4(at.xy, lamp, clamp(at.z, 0.0, 1.0)));
}

// Whether a pixel's corner lies amid one triangle, up to the pixels next to those that touch it: nobody asks for it.
bool is_within(int number)
{
    ivec2 here = 2 * ivec2(gl_FragCoord.xy), last = textureSize(numbers, 0) - 2;
    for (int row = -3; row <= 3; row += 2)
        for (int column = -3; column <= 3; column += 2)
            if (texelFetch(numbers, clamp(here + ivec2(column, row), ivec2(1), last), 0).x != number)
                return false;
    return true;
}

void main()
{
    int number = texelFetch(numbers, 2 * ivec2(gl_FragCoord.xy) + first, 0).x;
    seen = vec4(0.0);
    lit = vec4(0.0);
    if (number == 0 || (first == 0 && is_within(number)))
        return;
    ivec3 corner = corners_of(number - 1);
    vec3 a = texelFetch(vertices, corner.x).xyz;
    vec3 ab = texelFetch(vertices, corner.y).xyz - a, ac = texelFetch(vertices, corner.z).xyz - a;
    // ratios of scalar products (Moeller and Trumbore, 1997)
    vec3 direction = world_from_pixel * vec3(gl_FragCoord.xy, 1.0), to_eye = eye - a, across = cross(ab, ac);
    float along = -dot(across, direction);
    along = abs(along) < 1e-12 ? 1e-12 : along;
    float depth_m = dot(to_eye, across) / along;
    // a rasteriser's corners are rounded to a fraction of a place, so a ray may just miss
    vec2 weight = clamp(vec2(dot(cross(ac, to_eye), direction), dot(cross(to_eye, ab), direction)) / along, 0.0, 1.0);
    seen = vec4(number, depth_m, weight / max(1.0, weight.x + weight.y));
    vec3 place = eye + direction * depth_m, normal = normalize(across) * (along < 0.0 ? -1.0 : 1.0);
    for (int lamp = 0; lamp < num_lamps; lamp++)
        lit[lamp] = reached(lamp, place, depth_m, normal);
}

#version 330 core
// The number of the triangle, 1 and up.
layout(location = 0) out int number;

void main()
{
    number = gl_PrimitiveID + 1;
}
